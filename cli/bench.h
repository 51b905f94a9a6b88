// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "cli/command.h"

namespace temper {

// temper bench product|generate|train|grpo|sandbox: measures on this machine, one JSON line a measurement
// (docs/benchmarks.md).
absl::Status RunBench(const CommandLine& line);
std::string BenchHelp();

}  // namespace temper
