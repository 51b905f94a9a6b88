// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/report_run.h"
#include "core/json.h"
#include "data/tokenizer.h"
#include "data/trajectory.h"

namespace temper {

// How the completions of a stage are shown: with the tokenizer of its newest checkpoint, if it has one.
class CompletionWriter {
 public:
  explicit CompletionWriter(const ReportStage& stage);

  // COMPLETION of cli/report_groups.h. reward and advantage are left out where there is none.
  Json Write(const Trajectory& trajectory, std::optional<double> reward,
             std::optional<double> advantage) const;

 private:
  void WriteTokens(const Trajectory& trajectory, Json* json) const;
  std::unique_ptr<Tokenizer> tokenizer_;  // null: text without tokens
};

// At most `limit` bytes of text; what is longer loses its middle, at character boundaries, and says so.
std::string Shortened(const std::string& text, size_t limit);

// Whether the rule that decides (accuracy, or the first there is) says correct.
bool IsCorrect(const Trajectory& trajectory);

}  // namespace temper
