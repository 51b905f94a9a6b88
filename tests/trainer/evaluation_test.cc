// SPDX-License-Identifier: Apache-2.0
#include "trainer/evaluation.h"

#include <fstream>

#include "core/metrics.h"
#include "gmock/gmock.h"
#include "tests/trainer/small_recipe.h"
#include "trainer/run_directory/checkpoint.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

// What a stage is measured by, and what is wrong with it.
TEST(Evaluation, OfProblemsThatCannotBeMeasuredIsRefusedBeforeTheStageTrains) {
  const TestFolder folder;
  WriteSmallModel(folder / "model");
  const std::string file = folder / "problems.jsonl";
  std::ofstream(file) << R"({"question": "1 + 1?", "answer": "2"})"
                      << "\n"
                      << R"({"question": "2 + 2?", "answer": ""})"
                      << "\n";
  const std::pair<std::string, std::string> mistakes[] = {
      {"evaluation.held_out.files=[" + file + "]", "problems.jsonl:2: "},
      {"evaluation.hard.files=[" + file + "]", "problems.jsonl:2: "},
      {"evaluation.held_out={generator: tiny, chain_steps: [1, 1], find_x_share: 0}",
       "fewer than 4000 different problems"},
      {"evaluation.hard={tasks: [no_such_task]}", "no_such_task is none of"},
  };
  for (const auto& [override, what] : mistakes) {
    RecipeConfig recipe =
        SmallRecipe(folder / "model",
                    {"evaluation.problems=4000", "evaluation.reward.rules=[{rule: accuracy}]", override});
    recipe.stages.resize(1);  // pretrain
    SelfCommunicator self;
    const absl::Status status = RunRecipe(recipe, folder / "run", self, [] { return false; });
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
    EXPECT_EQ(LatestCheckpoint(folder / "run/base/checkpoints").value_or("?"), "") << what;
    std::filesystem::remove_all(folder / "run");
  }
}

// The whole way of a stage that starts from a model directory, judged by a rule that is not accuracy.
TEST(Evaluation, IsByTheStagesOwnRulesBeforeAfterAndDuringIt) {
  const TestFolder folder;
  WriteSmallModel(folder / "config");
  RecipeConfig base = SmallRecipe(folder / "config", {"evaluation.problems=0"});
  base.stages.resize(1);
  SelfCommunicator self;
  ASSERT_TRUE(RunRecipe(base, folder / "base", self, Never).ok());
  const std::string model = *LatestCheckpoint(folder / "base/base/checkpoints");

  RecipeConfig recipe = SmallRecipe(folder / "config", {"stages.zero.from=" + model, "rl.steps=2",
                                                        "rl.reward.rules=[{rule: length, max_tokens: 8, "
                                                        "slack_tokens: 8}, {rule: number, weight: 2}]"});
  recipe.stages = {recipe.stages[1]};
  const absl::Status status = RunRecipe(recipe, folder / "run", self, Never);
  ASSERT_TRUE(status.ok()) << status;
  const Json table = Json::parse(*ReadFile(folder / "run/summary.json"));
  ASSERT_EQ(table.size(), 2u);
  EXPECT_EQ(table[0]["stage"], "zero.before");
  EXPECT_EQ(table[0]["kind"], "eval");
  EXPECT_EQ(table[1]["stage"], "zero");
  for (const Json& row : table) {
    EXPECT_EQ(row["rule"], "number");
    for (const char* key : {"pass@1", "pass@1_lenient", "reward", "reward/length", "hard/reward/length"})
      EXPECT_TRUE(row.contains(key)) << key;
    for (const char* key : {"format", "language", "reward/number"}) EXPECT_FALSE(row.contains(key)) << key;
  }
  EXPECT_TRUE(FileExists(folder / "run/zero.before/evaluation/held_out.rank-0.records"));
  const auto lines = ReadMetrics(folder / "run/metrics.jsonl");
  ASSERT_TRUE(lines.ok());
  ASSERT_EQ(lines->size(), 2u);
  EXPECT_NE((*lines)[1].Find("eval/pass@1"), nullptr);
  EXPECT_NE((*lines)[1].Find("eval/reward/length"), nullptr);
  // Called again it has nothing to do.
  EXPECT_TRUE(RunRecipe(recipe, folder / "run", self, Never).ok());
}

}  // namespace
}  // namespace temper
