// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/line/command.h"

namespace temper {

std::string ProgramHelp();                        // `temper --help`
std::string CommandHelp(const Command& command);  // `temper COMMAND --help`

// Pages of docs/ that are made from the program itself; a test holds the committed ones to these.
std::string ConfigPage();    // docs/config.md: every field of a recipe
std::string CommandsPage();  // docs/commands.md: every command with its options

// `temper docs config`, `temper docs commands`: prints a page.
absl::Status RunDocs(const CommandLine& line);

}  // namespace temper
