// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/command.h"

namespace temper {

// Writes RUN_DIRECTORY/report.html, one self-contained page, whole or not at all, and returns its path. What
// the directory lacks (a run in progress, a stage without rollouts) is left out; damaged record files are
// named on the page.
absl::StatusOr<std::string> WriteReport(const std::string& run_directory);

// `temper report RUN_DIR`: the same, and prints the path.
absl::Status RunReport(const CommandLine& line);
std::string ReportHelp();

}  // namespace temper
