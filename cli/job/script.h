// SPDX-License-Identifier: Apache-2.0
// The text of what `temper launch` starts: a batch script of Slurm, or a script that starts mpirun.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "trainer/config/cluster.h"

namespace temper {

struct Job {
  ClusterConfig cluster;      // what the command line said is in it
  std::string run_directory;  // absolute, as is the next
  std::string working_directory;
  std::vector<std::string> command;  // temper run ..
};

// Each text is a word of its own there, whatever is in it. Errors: one with a control character, which no
// line of a script can hold.
absl::StatusOr<std::string> SlurmScript(const Job& job);
absl::StatusOr<std::string> MpirunScript(const Job& job);

// A word as bash reads it back; the plainest form.
std::string ShellWord(std::string_view text);

// Seconds of a time limit as Slurm writes it (MINUTES, M:S, H:M:S, D-H, D-H:M, D-H:M:S).
absl::StatusOr<int64_t> SecondsOfTimeLimit(const std::string& text);

}  // namespace temper
