// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "core/status.h"

namespace temper {

// Opens what rows are read from: a file, what a shell's <(...) and /dev/stdin give, or a terminal. A named
// pipe nobody may ever write, and a device may never end: they are refused (`... < PIPE` and "-" are fine).
absl::StatusOr<int> OpenRowsSource(const std::string& path);

}  // namespace temper
