// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "core/status.h"

namespace temper {

// Opens what rows are read from: a file, what a shell's <(...) and /dev/stdin give, or the terminal that
// standard input is. What nobody may ever write, or what may never end, is refused: a named pipe (`... <
// PIPE` and "-" are fine), a pipe that this process may write to or that is another's, a device, what the
// kernel makes up.
absl::StatusOr<int> OpenRowsSource(const std::string& path);
// An error where standard input is a folder, or a device but a terminal or /dev/null.
absl::Status CheckStandardInput();

}  // namespace temper
