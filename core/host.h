// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace temper {

// What this machine is called: for a process that Slurm started its name there (NodeName), by which a job is
// told where to run, else its host name, which may be another.
std::string ThisHost();

}  // namespace temper
