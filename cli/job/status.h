// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "cli/line/command.h"

namespace temper {

// `temper status RUN_DIR`: what a run is doing and how it ended, for people or as JSON.
absl::Status RunStatus(const CommandLine& line);
std::string StatusHelp();

}  // namespace temper
