// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/line/command.h"

namespace temper {

// Prompts in, completions out, in the order of the input, each as soon as those before it are finished.
absl::Status RunSample(const CommandLine& line);
std::string SampleHelp();

}  // namespace temper
