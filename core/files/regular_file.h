// SPDX-License-Identifier: Apache-2.0
// What a file is where one is wanted. A folder, pipe, socket or device is none, nor is what the kernel makes
// up
// (/proc, /sys): some of them wait, or go on, for ever.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace temper {

// InvalidArgument with what it is; `mode` as stat says it.
absl::Status CheckRegular(const std::string& path, mode_t mode);

// Opens a file to read, without waiting; the caller closes it. `size` is what the file says, 0 or nonsense of
// what the kernel makes up, which only a reader that has a limit may allow.
enum class KernelMade { kRefused, kAllowed };
absl::StatusOr<int> OpenRegularFile(const std::string& path, int64_t* size,
                                    KernelMade kernel_made = KernelMade::kRefused);

// What errno says of a read that failed.
absl::Status ReadError(const std::string& path, int file);

}  // namespace temper
