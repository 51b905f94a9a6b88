// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "core/status.h"

namespace temper {

constexpr size_t kMaxPackedBytes = 256 << 20;  // of what it unpacks to

// The text in LiveCodeBench's private tests: base64 of zlib of a Python pickle that is one text. Nothing is
// unpickled: a pickle of anything else is an error, as is one of more than `most` bytes.
absl::StatusOr<std::string> UnpackText(std::string_view packed, const std::string& where,
                                       size_t most = kMaxPackedBytes);

}  // namespace temper
