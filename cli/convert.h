// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "cli/line/command.h"

namespace temper {

// `temper convert --model DIR --output DIR`: the same model with weights of another dtype, in other shards,
// its experts stacked or separate; a directory that Transformers and the other commands read.
absl::Status RunConvert(const CommandLine& line);
std::string ConvertHelp();

}  // namespace temper
