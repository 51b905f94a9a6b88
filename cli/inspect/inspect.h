// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/line/command.h"

namespace temper {

// `temper inspect PATH`: what a model directory or checkpoint, a weight file, a run directory, a stage's
// folder or a record file holds, for a person, on standard output. --digest: a run's digest alone. --export
// FILE: the trajectories as JSON lines.
absl::Status RunInspect(const CommandLine& line);
std::string InspectHelp();

// The text that inspect prints of PATH. Errors: nothing there, or nothing that it knows; a file that is
// damaged.
absl::StatusOr<std::string> Inspect(const std::string& path);

}  // namespace temper
