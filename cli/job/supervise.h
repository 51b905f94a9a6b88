// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/line/command.h"

namespace temper {

// `temper supervise`: starts a run's ranks again, on the same machines, when they end by themselves.
absl::Status RunSupervise(const CommandLine& line);
std::string SuperviseHelp();

// The hosts to start on: the first `count` that are not among the bad ones; where those are too few, the bad
// ones that were named first come back. For tests.
std::vector<std::string> GoodHosts(const std::vector<std::string>& hosts, const std::vector<std::string>& bad,
                                   size_t count);

}  // namespace temper
