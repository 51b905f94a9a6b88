// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/line/command.h"

namespace temper {

// Log probabilities of given tokens, through the update's packed forward pass.
absl::Status RunLogprobs(const CommandLine& line);
std::string LogprobsHelp();

}  // namespace temper
