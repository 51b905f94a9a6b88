// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "cli/line/command.h"

namespace temper {

// `temper stop RUN_DIR`: a run saves and ends with 75, so that it can go on; returns once it is down.
absl::Status RunStop(const CommandLine& line);
std::string StopHelp();

}  // namespace temper
