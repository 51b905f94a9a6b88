// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/json/json.h"
#include "data/tokenizer/tokenizer.h"
#include "rollout/worker.h"
#include "trainer/config/recipe.h"
#include "trainer/measure.h"
#include "trainer/session.h"
#include "trainer/stage.h"

namespace temper {

// How a policy is measured: held-out problems that no stage trains on, sampled at the evaluation's own
// temperature. The problems and the draws are the same for every stage of a run.
class Evaluator {
 public:
  // All of it outlives the evaluator. Draws the problems, so that what is wrong with them shows before a
  // stage trains.
  static absl::StatusOr<std::unique_ptr<Evaluator>> Open(const StageContext& context,
                                                         const ModelConfig& config,
                                                         const Tokenizer& tokenizer);
  // The policy that it measures, of that config and on the mesh that samples, before it measures any. It
  // outlives the evaluator.
  void Take(CausalLm* model);

  // Whether there is a small evaluation after update `step` of a running stage.
  bool IsDue(int64_t step) const;
  // That evaluation: Measure's figures and the reward under eval/. Empty where none is due.
  absl::Status DuringStage(int64_t step, Figures* figures);

  // The whole evaluation, both levels, as fields of the stage table: "rule" (pass@1's), Measure's figures and
  // "reward", the mean; of the harder level with "hard/" before. Groups go to evaluation/held_out and
  // evaluation/hard in the stage's directory; what an interrupted one left there is not sampled again.
  absl::StatusOr<Json> AfterStage();

 private:
  Evaluator(const StageContext& context, const Tokenizer& tokenizer, Measure measure);
  struct Level {
    const char* name;  // of the draws: every stage and every evaluation has the same
    const ProblemsConfig* problems;
    int64_t count, samples;
    std::vector<Prompt> prompts = {};
  };
  absl::Status Draw(const ModelConfig& config, Level* level);
  // On the first `count` problems of the level; the texts are on the first rank.
  absl::StatusOr<std::vector<Group>> Sample(const Level& level, int64_t count, int64_t samples,
                                            const std::string& records,
                                            absl::FunctionRef<void(int64_t, int64_t)> progress);
  // Measure's figures and the mean reward after `prefix`: worked out by the first rank, known to all.
  absl::StatusOr<Json> RowOf(const std::vector<Group>& groups, const std::string& prefix);

  const StageContext& context_;
  const EvaluationConfig& config_;
  const Tokenizer& tokenizer_;
  std::optional<Engine> engine_;  // of the policy
  std::optional<RolloutWorker> worker_;
  const Measure measure_;
  std::unique_ptr<RewardPool> rewards_;
  Level held_out_, hard_;
};

// What a stage leaves in memory: its policy, which was opened once, and what measures it.
struct StagePolicy {
  OpenedPolicy policy;
  std::unique_ptr<Evaluator> evaluator;  // of that policy
  double seconds = 0;                    // spent on the stage, of all starts
};

}  // namespace temper
