// SPDX-License-Identifier: Apache-2.0
#include "trainer/update_batch.h"

#include <algorithm>
#include <set>

#include "comm/threads.h"
#include "core/random.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

constexpr std::optional<double> kNone;

Trajectory Sampled(int32_t sample, int64_t tokens, StopReason stop = StopReason::kEndOfText) {
  Trajectory trajectory;
  trajectory.sample = sample;
  trajectory.stop = stop;
  for (int64_t i = 0; i < tokens; ++i) {
    trajectory.tokens.push_back(static_cast<int32_t>(100 * sample + i));
    trajectory.logprobs.push_back(-0.5f * static_cast<float>(i + 1));
  }
  trajectory.Extend(Segment::Kind::kSampled, 0, tokens);
  return trajectory;
}

void Judge(Trajectory& trajectory, VerdictKind accuracy, double score) {
  trajectory.verdicts.resize(2);
  trajectory.verdicts[0].rule = "accuracy";
  trajectory.verdicts[0].kind = accuracy;
  trajectory.verdicts[0].score = score;
  trajectory.verdicts[1].rule = "format";
  trajectory.verdicts[1].kind = VerdictKind::kCorrect;
  trajectory.verdicts[1].score = 1;
}

std::vector<Group> ThreeGroups() {
  std::vector<Group> groups(3);
  for (int32_t g = 0; g < 3; ++g) {
    groups[g].prompt.tokens.assign(g + 1, 7);
    for (int32_t i = 0; i < 4; ++i) groups[g].trajectories.push_back(Sampled(10 * g + i, 3 + i));
  }
  return groups;
}

TEST(RewardsOf, AreWeightedSumsAndNoneWhereTheInfrastructureFailed) {
  std::vector<Group> groups = ThreeGroups();
  for (Group& group : groups) {
    Judge(group.trajectories[0], VerdictKind::kCorrect, 1);
    Judge(group.trajectories[1], VerdictKind::kWrong, 0);
    Judge(group.trajectories[2], VerdictKind::kTimeout, 0);
    Judge(group.trajectories[3], VerdictKind::kInfrastructureError, 0);
  }
  RlConfig config;
  config.reward.rules = {{.rule = "accuracy", .weight = 2}, {.rule = "format", .weight = 0.25}};
  const Rewards rewards = RewardsOf(groups, config, 1, "zero", 0);
  ASSERT_EQ(rewards.size(), 3u);
  for (const auto& group : rewards)
    EXPECT_EQ(group, (std::vector<std::optional<double>>{2.25, 0.25, 0.25, kNone}));
}

TEST(RewardsOf, AreNoneForCompletionsCutByLengthOnlyWhereTheyAreMasked) {
  std::vector<Group> groups = ThreeGroups();
  groups.resize(1);
  for (Trajectory& trajectory : groups[0].trajectories) Judge(trajectory, VerdictKind::kCorrect, 1);
  groups[0].trajectories[1].stop = StopReason::kLength;
  RlConfig config;
  config.reward.rules = {{.rule = "accuracy"}, {.rule = "format"}};
  EXPECT_EQ(RewardsOf(groups, config, 1, "zero", 0)[0][1], 2.0);
  config.truncated = TruncatedCompletions::kMasked;
  EXPECT_EQ(RewardsOf(groups, config, 1, "zero", 0)[0][1], kNone);
  EXPECT_EQ(RewardsOf(groups, config, 1, "zero", 0)[0][2], 2.0);
}

TEST(RewardsOf, ShuffledArePermutedWithinTheRolloutByItsNameAlone) {
  std::vector<Group> groups = ThreeGroups();
  double next = 0;
  for (Group& group : groups)
    for (Trajectory& trajectory : group.trajectories) Judge(trajectory, VerdictKind::kCorrect, ++next / 16);
  RlConfig config;
  config.reward.rules = {{.rule = "accuracy"}, {.rule = "format", .weight = 0}};
  const Rewards plain = RewardsOf(groups, config, 1, "zero", 0);
  config.shuffle_rewards = true;
  const Rewards shuffled = RewardsOf(groups, config, 1, "zero", 0);
  EXPECT_NE(shuffled, plain);
  std::multiset<std::optional<double>> before, after;
  for (const auto& group : plain) before.insert(group.begin(), group.end());
  for (const auto& group : shuffled) after.insert(group.begin(), group.end());
  EXPECT_EQ(before, after);
  EXPECT_EQ(RewardsOf(groups, config, 1, "zero", 0), shuffled);
  EXPECT_NE(RewardsOf(groups, config, 1, "zero", 1), shuffled);
  EXPECT_NE(RewardsOf(groups, config, 1, "one", 0), shuffled);
  EXPECT_NE(RewardsOf(groups, config, 2, "zero", 0), shuffled);
}

TEST(RewardsOf, ShuffledStayNoneWhereTheSampleDoesNotCount) {
  std::vector<Group> groups = ThreeGroups();
  double next = 0;
  for (Group& group : groups)
    for (Trajectory& trajectory : group.trajectories) Judge(trajectory, VerdictKind::kCorrect, ++next / 16);
  Judge(groups[0].trajectories[1], VerdictKind::kInfrastructureError, 0);
  groups[2].trajectories[3].stop = StopReason::kLength;
  RlConfig config;
  config.truncated = TruncatedCompletions::kMasked;
  config.reward.rules = {{.rule = "accuracy"}, {.rule = "format", .weight = 0}};
  config.shuffle_rewards = true;
  for (int64_t rollout = 0; rollout < 8; ++rollout) {
    const Rewards rewards = RewardsOf(groups, config, 1, "zero", rollout);
    for (size_t g = 0; g < 3; ++g) {
      for (size_t i = 0; i < 4; ++i)
        EXPECT_EQ(rewards[g][i].has_value(), (g != 0 || i != 1) && (g != 2 || i != 3)) << g << " " << i;
    }
  }
}

TEST(UpdateBatch, HoldsPromptAndCompletionWithTheSamplersLogprobs) {
  const std::vector<Group> groups = ThreeGroups();
  const Rewards rewards(3, {1.0, 0.0, 0.0, 1.0});
  UpdateBatch batch = MakeUpdateBatch(groups, rewards, {2, 0}, RlConfig());
  FillTokens(groups, &batch);
  ASSERT_EQ(batch.sequences.size(), 8u);
  const TrainSequence& first = batch.sequences[0];
  EXPECT_EQ(first.tokens, (std::vector<int32_t>{7, 7, 7, 2000, 2001, 2002}));
  ASSERT_EQ(first.ranges.size(), 1u);
  EXPECT_EQ(first.ranges[0].begin, 3);
  EXPECT_EQ(first.length(), 6);
  EXPECT_EQ(first.counted(), 3);
  EXPECT_EQ(first.old_logprobs, (std::vector<float>{-0.5f, -1.0f, -1.5f}));
  EXPECT_EQ(batch.sequences[4].tokens, (std::vector<int32_t>{7, 0, 1, 2}));
  EXPECT_EQ(batch.group_of, (std::vector<int64_t>{0, 0, 0, 0, 1, 1, 1, 1}));
  EXPECT_EQ(batch.trajectory_of, (std::vector<int64_t>{0, 1, 2, 3, 0, 1, 2, 3}));
  const std::vector<double> advantages = GroupAdvantages(rewards[0], AdvantageConfig());
  for (size_t i = 0; i < 8; ++i)
    EXPECT_EQ(batch.sequences[i].advantage, static_cast<float>(advantages[i % 4]));
  EXPECT_EQ(batch.denominators.sequences, 8);
  EXPECT_EQ(batch.denominators.tokens, 2 * (3 + 4 + 5 + 6));
  EXPECT_EQ(batch.groups, (std::vector<int64_t>{2, 0}));
}

TEST(UpdateBatch, CountsSampledTokensAloneAndEndsWithTheLastOfThem) {
  std::vector<Group> groups(1);
  groups[0].prompt.tokens = {7, 7};
  for (int32_t sample = 0; sample < 2; ++sample) {
    Trajectory& trajectory = groups[0].trajectories.emplace_back();
    trajectory.sample = sample;
    trajectory.Extend(Segment::Kind::kSampled, 3, 2);
    trajectory.Extend(Segment::Kind::kGiven, 3, 3);
    trajectory.Extend(Segment::Kind::kSampled, 3, 1);
    trajectory.Extend(Segment::Kind::kSampled, 4, 1);
    trajectory.Extend(Segment::Kind::kGiven, 4, 2);
    trajectory.tokens = {10, 11, 90, 91, 92, 12, 13, 93, 94};
    trajectory.logprobs = {-1, -2, -3, -4};
  }
  UpdateBatch batch = MakeUpdateBatch(groups, {{1.0, 0.0}}, {0}, RlConfig());
  EXPECT_EQ(batch.denominators.tokens, 8);
  FillTokens(groups, &batch);
  const TrainSequence& sequence = batch.sequences[1];
  EXPECT_EQ(sequence.tokens, (std::vector<int32_t>{7, 7, 10, 11, 90, 91, 92, 12, 13}));
  EXPECT_EQ(sequence.old_logprobs, groups[0].trajectories[1].logprobs);
  ASSERT_EQ(sequence.ranges.size(), 3u);
  const std::pair<int64_t, int64_t> expected[] = {{2, 4}, {7, 8}, {8, 9}};
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(std::pair(sequence.ranges[i].begin, sequence.ranges[i].end), expected[i]);
  EXPECT_EQ(sequence.counted(), 4);
  EXPECT_EQ(sequence.length(), 9);
}

TEST(UpdateBatch, IsTheSameOnARankThatHasTheHeadsAlone) {
  std::vector<Group> groups = ThreeGroups();
  const Rewards rewards(3, {1.0, 0.0, 0.0, 1.0});
  const UpdateBatch whole = MakeUpdateBatch(groups, rewards, {2, 0}, RlConfig());
  for (Group& group : groups) {
    for (Trajectory& trajectory : group.trajectories) {
      trajectory.tokens.clear();
      trajectory.logprobs.clear();
    }
  }
  UpdateBatch heads = MakeUpdateBatch(groups, rewards, {2, 0}, RlConfig());
  FillTokens(groups, &heads);
  EXPECT_EQ(heads.denominators.tokens, whole.denominators.tokens);
  ASSERT_EQ(heads.sequences.size(), whole.sequences.size());
  for (size_t i = 0; i < heads.sequences.size(); ++i) {
    EXPECT_TRUE(heads.sequences[i].tokens.empty());
    EXPECT_EQ(heads.sequences[i].length(), whole.sequences[i].length());
  }
  const auto order = [](const UpdateBatch& batch) {
    std::vector<std::vector<int64_t>> leaves;
    for (const auto& leaf : DealToLeaves(batch, 2)) {
      leaves.emplace_back();
      for (const TrainSequence* sequence : leaf) leaves.back().push_back(sequence - batch.sequences.data());
    }
    return leaves;
  };
  EXPECT_EQ(order(heads), order(whole));
}

TEST(UpdateBatch, CountsWhatIsDroppedAndMaskedAndLeavesItOut) {
  std::vector<Group> groups = ThreeGroups();
  groups[1].trajectories[3].stop = StopReason::kLength;
  RlConfig config;
  config.truncated = TruncatedCompletions::kMasked;
  const Rewards rewards = {{1.0, 0.0, 0.0, 1.0}, {1.0, kNone, 0.0, kNone}, {0.0, 1.0, kNone, 0.0}};
  const UpdateBatch batch = MakeUpdateBatch(groups, rewards, {0, 1, 2}, config);
  EXPECT_EQ(batch.sequences.size(), 9u);
  EXPECT_EQ(batch.dropped_samples, 2);
  EXPECT_EQ(batch.masked_samples, 1);
  EXPECT_EQ(batch.denominators.sequences, 9);
  EXPECT_EQ(batch.group_of, (std::vector<int64_t>{0, 0, 0, 0, 1, 1, 2, 2, 2}));
  EXPECT_GT(batch.sequences[4].advantage, 0.9f);  // of {1, 0} alone
}

TEST(UpdateBatch, SkipsGroupsWithoutSpreadAsAskedAndCountsThemInTheMeanEitherWay) {
  const std::vector<Group> groups = ThreeGroups();
  const Rewards rewards = {{1.0, 0.0, 0.0, 1.0}, {1.0, 1.0, kNone, 1.0}, {kNone, kNone, kNone, kNone}};
  RlConfig config;
  for (bool skip : {true, false}) {
    config.skip_groups_without_spread = skip;
    const UpdateBatch batch = MakeUpdateBatch(groups, rewards, {0, 1, 2}, config);
    EXPECT_EQ(batch.groups_without_spread, 2);
    EXPECT_EQ(batch.sequences.size(), skip ? 4u : 7u);
    EXPECT_EQ(batch.denominators.sequences, 7);
    EXPECT_EQ(batch.dropped_samples, 5);
    if (!skip) {
      EXPECT_EQ(batch.sequences[5].advantage, 0);
    }
  }
}

TEST(DealToLeaves, KeepsAGroupInOneLeafAndInOrder) {
  std::vector<Group> groups;
  Rewards rewards;
  std::vector<int64_t> chosen;
  for (int32_t g = 0; g < 13; ++g) {
    groups.emplace_back().prompt.tokens = {g};
    for (int32_t i = 0; i < 3; ++i) groups.back().trajectories.push_back(Sampled(i, 1 + (7 * g + i) % 11));
    rewards.push_back({1.0, 0.0, 0.5});
    chosen.push_back(12 - g);
  }
  const UpdateBatch batch = MakeUpdateBatch(groups, rewards, chosen, RlConfig());
  const Leaves leaves = DealToLeaves(batch, 4);
  ASSERT_EQ(leaves.size(), 4u);
  std::set<int64_t> seen;
  for (const auto& leaf : leaves) {
    ASSERT_EQ(leaf.size() % 3, 0u);
    for (size_t i = 0; i < leaf.size(); i += 3) {
      const int64_t first = leaf[i] - batch.sequences.data();
      EXPECT_TRUE(seen.insert(batch.group_of[first]).second);
      EXPECT_EQ(first % 3, 0);
      EXPECT_EQ(leaf[i + 1], leaf[i] + 1);
      EXPECT_EQ(leaf[i + 2], leaf[i] + 2);
      if (i > 0) {
        EXPECT_LT(leaf[i - 1], leaf[i]);
      }
    }
  }
  EXPECT_EQ(seen.size(), 13u);
}

TEST(TrainingRanks, AreThoseOfTheGroupsLeavesAndNoneOfWhatIsNotTrained) {
  std::vector<Group> groups;
  Rewards rewards;
  for (int32_t g = 0; g < 9; ++g) {
    groups.emplace_back().prompt.tokens = {g};
    for (int32_t i = 0; i < 2; ++i) groups.back().trajectories.push_back(Sampled(i, 1 + (5 * g + i) % 7));
    rewards.push_back({1.0, g == 4 ? 1.0 : 0.0});  // nothing to learn from 4
  }
  RlConfig config;
  config.skip_groups_without_spread = true;
  config.gradient_leaves = 4;
  const std::vector<UpdateBatch> batches = {MakeUpdateBatch(groups, rewards, {8, 1, 4, 0}, config),
                                            MakeUpdateBatch(groups, rewards, {2, 3, 5, 6}, config)};
  for (int ranks : {1, 2, 3, 4}) {
    ThreadWorld(ranks).Run([&](Communicator& world) {
      const Mesh mesh = *Mesh::Create({}, world);
      const std::vector<int> owners = TrainingRanks(batches, 9, mesh, config);
      EXPECT_EQ(owners[4], -1);
      EXPECT_EQ(owners[7], -1) << "of a later rollout";
      for (const UpdateBatch& batch : batches) {
        const Leaves leaves = DealToLeaves(batch, 4);
        const std::vector<int64_t> mine = LeavesOfRanks(leaves, mesh, 0)[mesh.dp_rank()];
        for (int64_t l = 0; l < 4; ++l) {
          for (const TrainSequence* sequence : leaves[l]) {
            const int64_t group = batch.groups[batch.group_of[sequence - batch.sequences.data()]];
            EXPECT_EQ(owners[group] == mesh.dp_rank(), std::count(mine.begin(), mine.end(), l) == 1);
          }
        }
      }
    });
  }
}

TEST(DealToLeaves, OfAnEmptyUpdateGivesEmptyLeaves) { EXPECT_EQ(DealToLeaves(UpdateBatch(), 2), Leaves(2)); }

}  // namespace
}  // namespace temper
