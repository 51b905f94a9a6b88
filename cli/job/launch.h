// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "cli/line/command.h"

namespace temper {

// `temper launch`: writes the script of a run into its folder and submits it to Slurm, or becomes mpirun.
absl::Status RunLaunch(const CommandLine& line);
std::string LaunchHelp();

}  // namespace temper
