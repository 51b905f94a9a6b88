// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/line/command.h"

namespace temper {

// Problems of a procedural task as rows, to look at or to train on elsewhere.
absl::Status RunProblems(const CommandLine& line);
std::string ProblemsHelp();

}  // namespace temper
