// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/line/command.h"

namespace temper {

// How well a policy answers the problems of a file.
absl::Status RunEval(const CommandLine& line);
std::string EvalHelp();

}  // namespace temper
