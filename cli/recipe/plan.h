// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "cli/line/command.h"

namespace temper {

absl::Status RunPlan(const CommandLine& line);
std::string PlanHelp();

}  // namespace temper
