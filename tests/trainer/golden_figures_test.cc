// SPDX-License-Identifier: Apache-2.0
// What people read of a run, against figures worked out by hand: a line of metrics.jsonl and a row of the
// stage table, from two groups of completions.
#include "gtest/gtest.h"
#include "trainer/measure.h"
#include "trainer/rl_metrics.h"

namespace temper {
namespace {

using Kind = VerdictKind;

Trajectory Sampled(int32_t sample, size_t tokens, Kind accuracy, Kind format) {
  Trajectory trajectory;
  trajectory.sample = sample;
  trajectory.text = "No idea.";
  trajectory.Extend(Segment::Kind::kSampled, 0, static_cast<int64_t>(tokens));
  for (const auto& [rule, kind] : {std::pair("accuracy", accuracy), std::pair("format", format)}) {
    Verdict& verdict = trajectory.verdicts.emplace_back();
    verdict.rule = rule;
    verdict.kind = kind;
    verdict.score = kind == Kind::kCorrect ? 1 : 0;
  }
  trajectory.verdicts[0].extracted = accuracy == Kind::kCorrect ? "8" : "";
  return trajectory;
}

// accuracy counts 1 and needs the format, which counts 0.25.
RewardConfig Reward() {
  RewardConfig reward;
  const absl::Status status = ReadConfig(
      "rules: [{rule: accuracy, requires: format}, {rule: format, weight: 0.25}]", "reward", {}, reward);
  EXPECT_TRUE(status.ok()) << status;
  return reward;
}

// Rewards 1.25, 0.25, 0.25, 0.25; none (nobody could judge), 1.25, 1.25, and 0 of a completion that was cut.
std::vector<Group> TwoGroups() {
  std::vector<Group> groups(2);
  groups[0].prompt.id = "a";
  groups[1].prompt.id = "b";
  groups[0].prompt.answer = groups[1].prompt.answer = "8";
  groups[0].trajectories = {
      Sampled(0, 4, Kind::kCorrect, Kind::kCorrect), Sampled(1, 8, Kind::kWrong, Kind::kCorrect),
      Sampled(2, 2, Kind::kTimeout, Kind::kCorrect), Sampled(3, 6, Kind::kNoAnswer, Kind::kCorrect)};
  groups[1].trajectories = {Sampled(0, 10, Kind::kInfrastructureError, Kind::kCorrect),
                            Sampled(1, 6, Kind::kCorrect, Kind::kCorrect),
                            Sampled(2, 2, Kind::kCorrect, Kind::kCorrect),
                            Sampled(3, 10, Kind::kMalformed, Kind::kMalformed)};
  groups[1].trajectories[3].stop = StopReason::kLength;
  groups[1].trajectories[3].text = "So <answer> 8 </answer>";  // right but for its form
  groups[0].trajectories[0].text = "It is 9. Wait, it is 8.";
  groups[1].trajectories[1].text = "Let me verify: 8.";
  groups[0].trajectories[0].looks_back = groups[1].trajectories[1].looks_back = true;
  const double entropies[] = {4, 4, 1, 3, 4, 3, 1, 4};
  for (size_t i = 0; i < 8; ++i) groups[i / 4].trajectories[i % 4].entropy_sum = entropies[i];
  return groups;
}

TEST(MetricsLine, OfTwoGroupsHasEveryFigureAsWorkedOutByHand) {
  RlConfig config;
  config.reward = Reward();
  config.truncated = TruncatedCompletions::kMasked;
  const std::vector<Group> groups = TwoGroups();
  const Rewards rewards = RewardsOf(groups, config, 1, "zero", 0);
  RlFigures figures;
  figures.batch = MakeUpdateBatch(groups, rewards, {1, 0}, config);
  LossSums& sums = figures.step.sums;
  sums.loss = 0.125;
  sums.tokens = 20;
  sums.kl = 5;
  sums.ratio = 22;
  sums.clipped = 4;
  sums.unequal = 3;
  sums.max_difference = 0.0625;
  figures.step.gradient_norm = 1.5;
  figures.step.local_tokens = 32;
  figures.step.taken_over = 2;
  figures.learning_rate = 0.001;
  figures.update_seconds = 4;
  figures.rollout.engine.sampled_tokens = 48;
  figures.rollout.engine.preemptions = 5;
  figures.rollout.engine.recomputed_tokens = 70;
  figures.rollout.engine.shared_tokens = 90;
  figures.rollout.engine.drafted_tokens = 40;
  figures.rollout.engine.accepted_tokens = 31;
  figures.rollout.sample_seconds = 3;
  figures.rollout.score_wait_seconds = 0.5;
  figures.rollout.resumed_samples = 2;
  figures.rollout.repeated_samples = 1;
  figures.rollout.taken_over = 3;
  figures.rollout.idle_shares = {0.25, 0};
  Figures row = figures.Row(
      groups, rewards,
      {{"verdict/accuracy/correct", 9}, {"time/reward/accuracy/p50", 0.25}, {"system/reward/open_peak", 8}});
  InsertEvaluation({{"eval/pass@1", 0.75}}, &row);

  const Figures golden = {
      {"reward/mean", 0.75},         // (3 x 1.25 + 3 x 0.25) / 6
      {"reward/std", 0.5},           // each is 0.5 away
      {"reward/accuracy", 3.0 / 7},  // the one that nobody could judge left out
      {"verdict/accuracy/correct", 3},
      {"verdict/accuracy/wrong", 1},
      {"verdict/accuracy/no_answer", 1},
      {"verdict/accuracy/malformed", 1},
      {"verdict/accuracy/timeout", 1},
      {"verdict/accuracy/infrastructure_error", 1},
      {"reward/format", 0.875},
      {"verdict/format/correct", 7},
      {"verdict/format/wrong", 0},
      {"verdict/format/no_answer", 0},
      {"verdict/format/malformed", 1},
      {"verdict/format/timeout", 0},
      {"verdict/format/infrastructure_error", 0},
      {"length/mean", 6},  // 48 tokens
      {"length/p10", 2},   // 2 2 4 6 6 8 10 10: at 0.7
      {"length/p50", 6},   // at 3.5
      {"length/p90", 10},  // at 6.3
      {"checks", 0.25},    // "Wait", "Let me verify"
      {"stop/length", 0.125},
      {"entropy", 0.5},  // 24 / 48
      {"loss", 0.125},
      {"kl", 0.25},
      {"ratio", 1.1},
      {"clip_share", 0.2},
      {"trained_tokens", 20},
      {"exact", 1},
      {"unequal_tokens", 3},
      {"max_logprob_difference", 0.0625},
      {"gradient_norm", 1.5},
      {"learning_rate", 0.001},
      {"updates/skipped", 0},
      {"updates/out_of_range", 0},
      {"groups/without_spread", 1},  // 1.25 and 1.25
      {"samples/dropped", 1},
      {"samples/masked", 1},
      {"eval/pass@1", 0.75},
      {"time/sample_seconds", 3},
      {"time/score_wait_seconds", 0.5},
      {"time/update_seconds", 4},
      {"time/trained_tokens_per_second", 8},
      {"system/local_sampled_tokens", 48},
      {"system/preemptions", 5},
      {"system/recomputed_tokens", 70},
      {"system/shared_prompt_tokens", 90},
      {"system/drafted_tokens", 40},
      {"system/accepted_tokens", 31},
      {"system/local_tokens", 32},
      {"system/leaves_taken_over", 2},
      {"resume/resumed_samples", 2},
      {"resume/repeated_samples", 1},
      {"system/prompts_taken_over", 3},
      {"time/rollout_idle_share/0", 0.25},
      {"time/rollout_idle_share/1", 0},
      {"time/sampled_tokens_per_second", 16},
      {"time/reward/accuracy/p50", 0.25},
      {"system/reward/open_peak", 8},
  };
  ASSERT_EQ(row.size(), golden.size());
  for (size_t i = 0; i < golden.size(); ++i) {
    EXPECT_EQ(row[i].first, golden[i].first);
    EXPECT_DOUBLE_EQ(row[i].second, golden[i].second) << golden[i].first;
  }
  EXPECT_EQ(RlFigures::StatusText(row, "accuracy"), "reward 0.75 accuracy 0.43 len 6 kl 0.250");
}

TEST(StageTableRow, OfTwoGroupsHasEveryFigureAsWorkedOutByHand) {
  const absl::StatusOr<Measure> measure = Measure::Create(Reward(), "");
  ASSERT_TRUE(measure.ok()) << measure.status();
  const Measure::Figures figures = measure->Of(TwoGroups());
  Json row = {{"rule", measure->pass_rule()}};
  measure->Append(figures, "", &row);
  // Of 4 completions 1 is right, of 3 that could be judged 2 are: pass@1 is the mean of 1/4 and 2/3, whose
  // deviation over two problems is their distance over 2. Of the first 3 samples of each: 1 of 4 is drawn
  // along three times of four, 2 of 3 always; the votes, of those whose form holds, are for 8.
  const Json golden = {{"rule", "accuracy"},
                       {"k", 3},
                       {"problems", 2},
                       {"pass@1", 11.0 / 24},
                       {"pass@1_error", 5.0 / 24},
                       {"pass@1_lenient", 0.625},  // 1/4 and 3/3
                       {"pass@k", 0.875},
                       {"cons@k", 1.0},
                       {"format", 0.875},
                       {"length_mean", 38.0 / 7},
                       {"length_p10", 2.0},  // 2 2 4 6 6 8 10: at 0.6
                       {"length_p50", 6.0},
                       {"length_p90", 8.8},  // at 5.4
                       {"checks", 2.0 / 7},
                       {"cut", 1.0 / 7},
                       {"unjudged", 1.0}};
  ASSERT_TRUE(figures.reward.has_value());
  EXPECT_DOUBLE_EQ(*figures.reward, 4.5 / 7);  // 3 x 1.25 + 3 x 0.25 + 0
  std::vector<std::string> keys, golden_keys;
  for (const auto& [key, value] : row.items()) keys.push_back(key);
  for (const auto& [key, value] : golden.items()) golden_keys.push_back(key);
  EXPECT_EQ(keys, golden_keys);
  for (const auto& [key, value] : golden.items()) {
    if (value.is_number()) {
      EXPECT_DOUBLE_EQ(row[key].get<double>(), value.get<double>()) << key;
    } else {
      EXPECT_EQ(row[key], value) << key;
    }
  }
}

}  // namespace
}  // namespace temper
