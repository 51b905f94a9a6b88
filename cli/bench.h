// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace temper {

// temper bench product|prefill|decode|generate|train|grpo|sandbox|tokenize: measures on this machine, one
// JSON line a measurement (docs/benchmarks.md). It is a program of its own (cli/bench): this process becomes
// it, so that a return is a failure.
absl::Status BecomeBench(const std::vector<std::string>& arguments);
std::string BenchHelp();

}  // namespace temper
