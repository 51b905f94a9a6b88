// SPDX-License-Identifier: Apache-2.0
#include "trainer/update_batch.h"

#include <utility>

#include "comm/gather.h"
#include "core/deal.h"
#include "core/random.h"
#include "core/trace.h"

namespace temper {

bool IsMasked(const Trajectory& trajectory, const RlConfig& config) {
  return config.truncated == TruncatedCompletions::kMasked && trajectory.stop == StopReason::kLength;
}

Rewards RewardsOf(const std::vector<Group>& groups, const RlConfig& config, uint64_t seed,
                  const std::string& stage, int64_t rollout) {
  Rewards rewards(groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    for (const Trajectory& trajectory : groups[g].trajectories) {
      rewards[g].push_back(IsMasked(trajectory, config) ? std::nullopt
                                                        : RewardOf(trajectory.verdicts, config.reward));
    }
  }
  if (!config.shuffle_rewards) return rewards;
  std::vector<double> all;
  for (const auto& group : rewards) {
    for (const std::optional<double>& reward : group) {
      if (reward.has_value()) all.push_back(*reward);
    }
  }
  const std::vector<int64_t> order =
      Permutation(static_cast<int64_t>(all.size()), RandomKey(seed, stage, rollout, "shuffle_rewards"));
  size_t next = 0;
  for (auto& group : rewards) {
    for (std::optional<double>& reward : group) {
      if (reward.has_value()) reward = all[order[next++]];
    }
  }
  return rewards;
}

namespace {

std::vector<CountedRange> SampledRanges(const TrajectoryHead& trajectory, int64_t prompt_tokens) {
  std::vector<CountedRange> ranges;
  for (const Segment& segment : trajectory.segments) {
    if (segment.kind == Segment::Kind::kSampled)
      ranges.push_back({prompt_tokens + segment.first, prompt_tokens + segment.end()});
  }
  return ranges;
}

}  // namespace

UpdateBatch MakeUpdateBatch(const std::vector<Group>& groups, const Rewards& rewards,
                            std::vector<int64_t> chosen, const RlConfig& config) {
  UpdateBatch batch;
  for (size_t index = 0; index < chosen.size(); ++index) {
    const Group& group = groups[chosen[index]];
    const std::vector<std::optional<double>>& group_rewards = rewards[chosen[index]];
    const std::vector<double> advantages = GroupAdvantages(group_rewards, config.advantage);
    const bool skip = !HasSpread(group_rewards);
    batch.groups_without_spread += skip ? 1 : 0;
    for (size_t i = 0; i < group.trajectories.size(); ++i) {
      const Trajectory& trajectory = group.trajectories[i];
      if (!group_rewards[i].has_value()) {
        ++(IsMasked(trajectory, config) ? batch.masked_samples : batch.dropped_samples);
        continue;
      }
      batch.denominators.sequences += 1;
      batch.denominators.tokens += static_cast<double>(trajectory.sampled());
      if (skip && config.skip_groups_without_spread) continue;
      TrainSequence sequence;
      sequence.group = static_cast<int64_t>(index);
      sequence.prompt_tokens = static_cast<int64_t>(group.prompt.tokens.size());
      sequence.ranges = SampledRanges(trajectory, sequence.prompt_tokens);
      sequence.advantage = static_cast<float>(advantages[i]);
      batch.sequences.push_back(std::move(sequence));
      batch.group_of.push_back(static_cast<int64_t>(index));
      batch.trajectory_of.push_back(static_cast<int64_t>(i));
    }
  }
  batch.groups = std::move(chosen);
  return batch;
}

Leaves DealToLeaves(const UpdateBatch& batch, int64_t gradient_leaves) {
  // Groups keep together: their token counts decide.
  std::vector<int64_t> group_tokens;
  std::vector<std::vector<const TrainSequence*>> members;
  int64_t last = -1;
  for (size_t i = 0; i < batch.sequences.size(); ++i) {
    if (batch.group_of[i] != last) {
      last = batch.group_of[i];
      group_tokens.push_back(0);
      members.emplace_back();
    }
    group_tokens.back() += batch.sequences[i].length();
    members.back().push_back(&batch.sequences[i]);
  }
  Leaves leaves(gradient_leaves);
  const std::vector<std::vector<int64_t>> dealt = Deal(group_tokens, gradient_leaves);
  for (int64_t l = 0; l < gradient_leaves; ++l) {
    for (int64_t group : dealt[l])
      leaves[l].insert(leaves[l].end(), members[group].begin(), members[group].end());
  }
  return leaves;
}

std::vector<int> TrainingRanks(const std::vector<UpdateBatch>& batches, int64_t groups, const Mesh& mesh,
                               const UpdatesConfig& config) {
  std::vector<int> ranks(groups, -1);
  for (const UpdateBatch& batch : batches) {
    const Leaves leaves = DealToLeaves(batch, config.gradient_leaves);
    const std::vector<std::vector<int64_t>> of_ranks =
        LeavesOfRanks(leaves, mesh, config.long_sequence_tokens);
    for (int rank = 0; rank < mesh.dp_size(); ++rank) {
      for (const int64_t leaf : of_ranks[rank]) {
        for (const TrainSequence* sequence : leaves[leaf])
          ranks[batch.groups[batch.group_of[sequence - batch.sequences.data()]]] = rank;
      }
    }
  }
  return ranks;
}

void FillTokens(const std::vector<Group>& groups, UpdateBatch* batch) {
  for (size_t i = 0; i < batch->sequences.size(); ++i) {
    TrainSequence& sequence = batch->sequences[i];
    const Group& group = groups[batch->groups[batch->group_of[i]]];
    const Trajectory& trajectory = group.trajectories[batch->trajectory_of[i]];
    if (trajectory.tokens.empty()) continue;
    const auto end = trajectory.tokens.begin() + sequence.length() - group.prompt.tokens.size();
    sequence.tokens = group.prompt.tokens;
    sequence.tokens.insert(sequence.tokens.end(), trajectory.tokens.begin(), end);
    sequence.old_logprobs = trajectory.logprobs;
  }
}

void ShareLongSequences(const UpdatesConfig& config, const Mesh& mesh, UpdateBatch* batch) {
  Communicator& ranks = mesh.axis(Axis::kCp);
  if (ranks.size() == 1) return;
  const Leaves leaves = DealToLeaves(*batch, config.gradient_leaves);
  for (const LongSequence& one : LongSequencesOf(leaves, mesh, config.long_sequence_tokens)) {
    TrainSequence& sequence = batch->sequences[leaves[one.leaf][one.index] - batch->sequences.data()];
    sequence.tokens.resize(sequence.length());
    sequence.old_logprobs.resize(sequence.counted());
    ranks.Broadcast(sequence.tokens.data(), sequence.tokens.size() * sizeof(int32_t), one.owner);
    ranks.Broadcast(sequence.old_logprobs.data(), sequence.old_logprobs.size() * sizeof(float), one.owner);
  }
}

void FillLogprobs(CausalLm& model, const RlConfig& config, const Mesh& mesh,
                  std::vector<float> TrainSequence::*field, UpdateBatch* batch) {
  const TraceSpan span("phase", "logprobs");
  TrainSequence* const first = batch->sequences.data();
  const Leaves leaves = DealToLeaves(*batch, config.gradient_leaves);
  const int64_t long_tokens = config.long_sequence_tokens;
  const ForwardOptions options{config.tokens_per_microbatch, config.sampling.temperature, long_tokens,
                               config.tokens_per_shared_prompt};
  // Leaf by leaf their short sequences; then the long ones that this rank has a share of.
  std::vector<std::vector<const TrainSequence*>> turns;
  const std::vector<int64_t> mine = LeavesOfRanks(leaves, mesh, long_tokens)[mesh.dp_rank()];
  for (const int64_t leaf : mine) {
    turns.emplace_back();
    for (const TrainSequence* sequence : leaves[leaf])
      if (!IsLong(*sequence, long_tokens)) turns.back().push_back(sequence);
  }
  turns.resize(Largest(static_cast<int64_t>(turns.size()), mesh.in_step()));
  turns.emplace_back();
  for (const LongSequence& one : LongSequencesOf(leaves, mesh, long_tokens))
    turns.back().push_back(leaves[one.leaf][one.index]);
  for (const std::vector<const TrainSequence*>& turn : turns) {
    SequenceLogprobs(model, turn, options, [&](size_t i, absl::Span<const float> logprobs) {
      mesh.world().Announce("computes logprobs");
      (first[turn[i] - first].*field).assign(logprobs.begin(), logprobs.end());
    });
  }
}

}  // namespace temper
