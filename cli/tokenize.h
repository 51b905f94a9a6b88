// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/line/command.h"

namespace temper {

// Text to token ids and back.
absl::Status RunTokenize(const CommandLine& line);
std::string TokenizeHelp();

}  // namespace temper
