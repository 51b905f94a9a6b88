// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "core/status.h"

namespace temper {

// A command that leaves nothing behind: it runs under a small program of ours (rewards/process/keeper.c),
// which kills all that the command started, in whatever session or group, once the command has ended,
// `lifeline` is closed, or this process is dead, kill -9 included. Where the kernel allows process namespaces
// it cannot be got rid of from inside.
struct Kept {
  pid_t pid = 0;                             // the keeper, to be reaped by us; it ends as the command did
  int input = -1, output = -1, errors = -1;  // our ends of the command's standard files; they do not block
  int lifeline = -1;
};

// The command has our environment and folder, a session of its own without a terminal, and no file of ours
// but those three. Errors: it cannot be started (with the system's reason).
absl::StatusOr<Kept> StartKept(const std::vector<std::string>& command);

}  // namespace temper
