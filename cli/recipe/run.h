// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/line/command.h"

namespace temper {

// A recipe: its stages in order, in a run directory; called again it goes on where it was.
absl::Status RunRecipeCommand(const CommandLine& line);
std::string RecipeHelp();

}  // namespace temper
