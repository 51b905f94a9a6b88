// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "cli/line/command.h"

namespace temper {

// `temper supervise`: starts a run's ranks again, on the same machines, when they end by themselves.
absl::Status RunSupervise(const CommandLine& line);
std::string SuperviseHelp();

}  // namespace temper
