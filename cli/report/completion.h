// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/earned.h"
#include "cli/report/run.h"
#include "core/json/json.h"
#include "data/tokenizer/tokenizer.h"
#include "data/trajectory.h"

namespace temper {

// How the completions of a stage are shown: with the tokenizer of its newest checkpoint, or of the policy
// that it samples without training it, if that is there.
class CompletionWriter {
 public:
  CompletionWriter(const ReportRun& run, const ReportStage& stage);

  // COMPLETION of cli/report/groups.h. Reward and advantage are left out where there is none.
  Json Write(const Trajectory& trajectory, const Earned& earned, bool solved) const;

 private:
  void WriteTokens(const Trajectory& trajectory, Json* json) const;
  std::unique_ptr<Tokenizer> tokenizer_;  // null: text without tokens
};

// At most `limit` bytes of text; what is longer loses its middle, at character boundaries, and says so.
std::string Shortened(const std::string& text, size_t limit);

}  // namespace temper
