// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "cli/line/command.h"

namespace temper {

// `temper doctor`: a line for each thing that a run needs of its machines, ok, warn or fail with what to do.
// Under srun or mpirun of all ranks, by machine where they differ. A fail is Unavailable.
absl::Status RunDoctor(const CommandLine& line);
std::string DoctorHelp();

}  // namespace temper
