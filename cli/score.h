// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/line/command.h"

namespace temper {

// Verdicts of rules for completions; no model.
absl::Status RunScore(const CommandLine& line);
std::string ScoreHelp();

}  // namespace temper
