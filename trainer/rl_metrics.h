// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "rollout/worker.h"
#include "trainer/inputs/problems.h"
#include "trainer/session.h"
#include "trainer/update_batch.h"

namespace temper {

// What one update of an rl stage tells: metric names are paths.
struct RlFigures {
  RolloutCounts rollout;
  UpdateBatch batch;
  StepResult step;
  bool exact = true;  // false: old logprobs are not the sampler's (docs/exactness.md)
  double learning_rate = 0;
  double update_seconds = 0;  // reference and update

  // reward/mean, reward/RULE, length/mean, p10, p50, p90, entropy, kl, clip_share, ratio, loss,
  // gradient_norm, share of completions that retry or check themselves, stop/length, groups without spread,
  // dropped and masked samples, updates/skipped (1 where nothing was left of them), updates/out_of_range,
  // tokens unequal, exact; clocks under time/. Rewards are of the update's own groups, the rollout's counts
  // of its first update here. `pool`: RewardPool's metrics.
  Figures Row(const std::vector<Group>& groups, const Rewards& rewards, const Figures& pool) const;
  // "math 0.43 len 31 kl 0.01": the mean score of a rule, here the one that judges the answer.
  static std::string StatusText(const Figures& row, const std::string& rule);
};

// The figures of an update's evaluation in their place of its row: before the clocks.
void InsertEvaluation(const Figures& evaluation, Figures* row);

// The pieces of the page that are configuration.
EngineOptions EngineOptionsOf(const SamplingConfig& config);
int RewardThreads(const StageContext& context);
absl::StatusOr<RolloutRequest> MakeRolloutRequest(TrainingSession& session, ProblemSource& problems,
                                                  const RlConfig& config, int64_t rollout);
std::function<void(int64_t, int64_t)> RolloutProgress(const StageContext& context);

}  // namespace temper
