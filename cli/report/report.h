// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/line/command.h"

namespace temper {

struct ReportOptions {
  std::vector<std::string> words;  // of which the share of completions that have them is drawn
  std::string output;              // empty: RUN_DIRECTORY/report.html; of several runs comparison.html

  template <class V>
  void Fields(V& v) {
    v.Field("words", words,
            "Words or phrases of your own, whose share of completions is drawn over each rl stage.");
    v.Field("output", output,
            "The page's file; empty: report.html in the run's folder, or of several runs comparison.html in "
            "this one.");
  }
};

// Writes one self-contained page, whole or not at all, and returns its path. What the directory lacks (a run
// in progress, a stage without rollouts) is left out; damaged record files are named on the page.
absl::StatusOr<std::string> WriteReport(const std::string& run_directory, const ReportOptions& options = {});

// Several runs side by side: one table, and the curves of stages of the same name in one chart.
absl::StatusOr<std::string> WriteComparison(const std::vector<std::string>& run_directories,
                                            const ReportOptions& options = {});

// `temper report RUN_DIR [RUN_DIR ..]`: one of these, and prints the path.
absl::Status RunReport(const CommandLine& line);
std::string ReportHelp();

}  // namespace temper
