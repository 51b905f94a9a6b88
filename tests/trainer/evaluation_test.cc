// SPDX-License-Identifier: Apache-2.0
#include "trainer/evaluation.h"

#include <fstream>

#include "gmock/gmock.h"
#include "tests/trainer/small_recipe.h"
#include "trainer/checkpoint.h"

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
      {"evaluation.held_out.files=[" + file + "]", "problems.jsonl: "},
      {"evaluation.hard.files=[" + file + "]", "reference answer"},
      {"evaluation.held_out={chain_steps: [1, 1], find_x_share: 0}", "fewer than 4000 different problems"},
      {"evaluation.hard={tasks: [no_such_task]}", "no_such_task is none of"},
  };
  for (const auto& [override, what] : mistakes) {
    RecipeConfig recipe = SmallRecipe(folder / "model", {"evaluation.problems=4000", override});
    recipe.stages.resize(1);  // pretrain
    SelfCommunicator self;
    const absl::Status status = RunRecipe(recipe, folder / "run", self, [] { return false; });
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
    EXPECT_EQ(LatestCheckpoint(folder / "run/base/checkpoints").value_or("?"), "") << what;
    std::filesystem::remove_all(folder / "run");
  }
}

}  // namespace
}  // namespace temper
