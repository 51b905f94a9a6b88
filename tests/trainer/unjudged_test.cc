// SPDX-License-Identifier: Apache-2.0
// Rollouts that teach nothing: no completion could be judged, or the groups of an update have no spread.
#include <fstream>
#include <map>

#include "comm/threads.h"
#include "core/metrics.h"
#include "gmock/gmock.h"
#include "tests/trainer/small_recipe.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

absl::Status RunOn(int ranks, const RecipeConfig& recipe, const std::string& directory,
                   const std::function<bool()>& stop = Never) {
  std::vector<absl::Status> statuses(ranks);
  ThreadWorld(ranks).Run(
      [&](Communicator& comm) { statuses[comm.rank()] = RunRecipe(recipe, directory, comm, stop); });
  for (const absl::Status& status : statuses) EXPECT_EQ(status.code(), statuses[0].code()) << status;
  return statuses[0];
}

// base, then zero as asked: the first two stages of the small recipe.
class Unjudged : public ::testing::Test {
 protected:
  Unjudged() { WriteSmallModel(folder_ / "model"); }

  RecipeConfig TwoStages(std::vector<std::string> overrides) const {
    overrides.insert(overrides.begin(),
                     {"evaluation.problems=0", "rl.kl_coef=0", "rl.reference_refresh_steps=0",
                      "rl.skip_groups_without_spread=true", "rl.optimizer.weight_decay=0.5"});
    RecipeConfig recipe = SmallRecipe(folder_ / "model", overrides);
    recipe.stages.resize(2);
    return recipe;
  }
  std::string Checkpoint(const std::string& run, const std::string& stage) const {
    return LatestCheckpoint(CheckpointsDirectory(StageDirectory(run, stage))).value_or("");
  }
  // Name -> sum over the updates of zero.
  std::map<std::string, double> Totals(const std::string& run) const {
    const auto lines = ReadMetrics(run + "/metrics.jsonl");
    EXPECT_TRUE(lines.ok()) << lines.status();
    std::map<std::string, double> totals;
    for (const MetricsLine& line : *lines) {
      if (line.stage != "zero") continue;
      totals["updates"] += 1;
      for (const auto& [name, value] : line.values) totals[name] += value;
      const bool skipped = *line.Find("updates/skipped") == 1;
      EXPECT_EQ(skipped, *line.Find("trained_tokens") == 0);
      EXPECT_EQ(skipped, *line.Find("gradient_norm") == 0);
    }
    return totals;
  }

  TestFolder folder_;
};

TEST_F(Unjudged, AStageWithoutAnySpreadLeavesWeightsAndOptimizerAsTheyWere) {
  const RecipeConfig recipe = TwoStages({"rl.reward.rules=[{rule: format, weight: 0}]"});
  const std::string run = folder_ / "still";
  ::testing::internal::CaptureStderr();
  const absl::Status status = RunOn(1, recipe, run);
  const std::string told = ::testing::internal::GetCapturedStderr();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(told, HasSubstr("stage zero, update 3: 3 in a row had nothing to train on"));
  std::map<std::string, double> totals = Totals(run);
  EXPECT_EQ(totals["updates"], 4);
  EXPECT_EQ(totals["updates/skipped"], 4);
  EXPECT_EQ(totals["groups/without_spread"], 4 * 3);
  EXPECT_EQ(*ReadFile(Checkpoint(run, "zero") + "/model.safetensors"),
            *ReadFile(Checkpoint(run, "base") + "/model.safetensors"));
  const std::string moments = *ReadFile(Checkpoint(run, "zero") + "/state/optimizer.safetensors");
  const std::string data = moments.substr(moments.find("}}") + 2);
  EXPECT_EQ(data.find_first_not_of(std::string(" \0", 2)), std::string::npos) << "moments are zeros";
  EXPECT_THAT(*ReadFile(Checkpoint(run, "zero") + "/state/state.json"), HasSubstr("\"optimizer_steps\":0"));
}

// Also while it samples, which is where a run spends its time.
TEST_F(Unjudged, AStopAnywhereInRlSavesTheLastFinishedUpdate) {
  const RecipeConfig recipe = TwoStages({"rl.checkpoint_minutes=0", "rl.checkpoint_every=0"});
  int64_t calls = 0;
  ASSERT_TRUE(RunOn(1, recipe, folder_ / "whole", [&] { return ++calls < 0; }).ok());
  for (int64_t n = calls / 2; n < calls; n += std::max<int64_t>(1, calls / 9)) {
    const std::string run = folder_ / ("stopped-" + std::to_string(n));
    int64_t asked = 0;
    const absl::Status status = RunOn(1, recipe, run, [&] { return ++asked >= n; });
    ASSERT_TRUE(absl::IsCancelled(status)) << status;
    int64_t updates = 0;
    const auto lines = ReadMetrics(run + "/metrics.jsonl");
    ASSERT_TRUE(lines.ok()) << lines.status();
    for (const MetricsLine& line : *lines) updates += line.stage == "zero" ? 1 : 0;
    const std::string checkpoint = Checkpoint(run, "zero");
    EXPECT_EQ(checkpoint.empty() ? 0 : ReadTrainingState(checkpoint)->step, updates) << n << ": " << status;
  }
}

TEST_F(Unjudged, UpdatesWithoutSpreadBetweenOthersHaveTheSameDigestOnAnyRanksAndAfterAnyStop) {
  const RecipeConfig recipe = TwoStages(
      {"stages.zero.rl={steps: 12, prompts_per_step: 1, updates_per_rollout: 4, samples_per_prompt: 2}",
       "rl.reward.rules=[{rule: format}, {rule: language, min_words: 1}]"});
  const std::string alone = folder_ / "alone";
  int64_t calls = 0;
  ASSERT_TRUE(RunOn(1, recipe, alone, [&] { return ++calls < 0; }).ok());
  std::map<std::string, double> totals = Totals(alone);
  EXPECT_EQ(totals["updates"], 12);
  EXPECT_GT(totals["updates/skipped"], 2);
  EXPECT_LT(totals["updates/skipped"], 10);
  EXPECT_EQ(totals["groups/without_spread"], totals["updates/skipped"]);
  const std::string digest = Digest(alone);
  for (int ranks : {2, 4}) {
    const std::string run = folder_ / ("ranks-" + std::to_string(ranks));
    ASSERT_TRUE(RunOn(ranks, recipe, run).ok());
    EXPECT_EQ(Digest(run), digest) << ranks << " ranks";
  }
  for (int64_t n = 1; n < calls; n += calls / 7) {
    const std::string run = folder_ / ("stopped-" + std::to_string(n));
    int64_t asked = 0;
    EXPECT_TRUE(absl::IsCancelled(RunOn(1, recipe, run, [&] { return ++asked >= n; }))) << n;
    ASSERT_TRUE(RunOn(2, recipe, run).ok()) << n;
    EXPECT_EQ(Digest(run), digest) << "after " << n;
  }
}

TEST_F(Unjudged, ARolloutThatNoRuleCouldJudgeStopsTheRunUntilTheRuleWorks) {
  // Says no score as long as the file is there.
  const std::string script = folder_ / "rule.py", broken = folder_ / "broken";
  std::ofstream(script) << "import json, os, sys\n"
                           "for line in sys.stdin:\n"
                           "    row = json.loads(line)\n"
                           "    score = 7 if os.path.exists('"
                        << broken
                        << "') else len(row['completion']) % 3 / 2\n"
                           "    print(json.dumps({'id': row['id'], 'score': score}), flush=True)\n";
  const RecipeConfig recipe =
      TwoStages({"rl.reward.rules=[{rule: process, name: judge, command: [python3, " + script + "]}]"});
  ASSERT_TRUE(RunOn(1, recipe, folder_ / "undisturbed").ok());
  std::ofstream(broken) << "x";
  const std::string run = folder_ / "run";
  for (int ranks : {1, 2, 2}) {
    const absl::Status status = RunOn(ranks, recipe, run);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_THAT(
        std::string(status.message()),
        AllOf(HasSubstr("stage zero, rollout 0: none of the 18 completions could be judged: rule judge: "),
              HasSubstr("start again"), Not(HasSubstr("\n"))));
    EXPECT_EQ(Checkpoint(run, "zero"), "");
  }
  std::filesystem::remove(broken);
  const absl::Status status = RunOn(2, recipe, run);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Digest(run), Digest(folder_ / "undisturbed"));
  EXPECT_EQ(Totals(run)["resume/repeated_samples"], 18);
  EXPECT_EQ(Totals(run)["samples/dropped"], 0);
}

}  // namespace
}  // namespace temper
