// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/trajectory.h"
#include "trainer/config/recipe.h"
#include "trainer/update/step.h"

namespace temper {

// rewards[g][i] belongs to groups[g].trajectories[i]; none: the sample does not count (infrastructure error,
// masked).
using Rewards = std::vector<std::vector<std::optional<double>>>;

// Cut by length, where such completions are left out.
bool IsMasked(const Trajectory& trajectory, const RlConfig& config);

// The weighted sums of the verdicts; with shuffle_rewards permuted among the samples that count.
Rewards RewardsOf(const std::vector<Group>& groups, const RlConfig& config, uint64_t seed,
                  const std::string& stage, int64_t rollout);

// The trainable side of one update: sequences with their advantages. Sampled tokens count, given ones do not.
struct UpdateBatch {
  std::vector<int64_t> groups;  // of the rollout, that it was made of
  std::vector<TrainSequence> sequences;
  std::vector<int64_t> group_of;       // index of each sequence's group in the update
  std::vector<int64_t> trajectory_of;  // and of its trajectory in the group
  LossDenominators denominators;       // of all samples that count, those of skipped groups too
  int64_t groups_without_spread = 0;
  int64_t dropped_samples = 0;  // no reward: infrastructure errors
  int64_t masked_samples = 0;   // cut by length, left out
};
// From the heads of the trajectories, so that every rank makes the same one: tokens and old logprobs are
// FillTokens' to add.
UpdateBatch MakeUpdateBatch(const std::vector<Group>& groups, const Rewards& rewards,
                            std::vector<int64_t> chosen, const RlConfig& config);

// A group stays in one leaf.
Leaves DealToLeaves(const UpdateBatch& batch, int64_t gradient_leaves);
// The rank that trains each group of the rollout, of which `batches` are the updates; -1: none of it is
// trained.
std::vector<int> TrainingRanks(const std::vector<UpdateBatch>& batches, int64_t groups, const Mesh& mesh,
                               const UpdatesConfig& config);

// Tokens and old logprobs of the sequences whose trajectories have theirs here.
void FillTokens(const std::vector<Group>& groups, UpdateBatch* batch);

// The long sequences' (IsLong) go from the rank that has their leaf to its neighbours of mesh.cp.
void ShareLongSequences(const UpdatesConfig& config, const Mesh& mesh, UpdateBatch* batch);

// Fills `field` of the sequences that this rank trains with their logprobs under `model`: the update's own
// packed forward, in its microbatches.
void FillLogprobs(CausalLm& model, const RlConfig& config, const Mesh& mesh,
                  std::vector<float> TrainSequence::*field, UpdateBatch* batch);

}  // namespace temper
