// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/line/command.h"

namespace temper {

// `temper init`: a config.json with its tokenizer becomes a model directory of random weights.
absl::Status RunInit(const CommandLine& line);
std::string InitHelp();

}  // namespace temper
