// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

namespace temper {

// What this machine is called: for a process that Slurm started its name there (NodeName), by which a job is
// told where to run, else its host name, which may be another.
std::string ThisHost();

// Which of the processes on this machine that mpirun or srun started together this one is, and how many those
// are.
struct LocalPlace {
  int number = 0;  // from 0
  int count = 1;
};
// By what the launcher told this process; nothing: none did.
std::optional<LocalPlace> ThisLocalPlace();

}  // namespace temper
