// SPDX-License-Identifier: Apache-2.0
// A run on the simulated GPU: the digest that the CPU's run has.
#include "comm/threads.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "gtest/gtest.h"
#include "tests/trainer/small_recipe.h"

namespace temper {
namespace {

// Pretraining, GRPO with its reference refreshed and tokens of an earlier policy, and SFT.
RecipeConfig Recipe(const std::string& model, const std::string& device) {
  RecipeConfig recipe = SmallRecipe(
      model,
      {"rl.steps=2", "rl.prompts_per_step=2", "rl.samples_per_prompt=2", "rl.sampling.max_new_tokens=6",
       "rl.reference_refresh_steps=1", "evaluation.problems=1", "evaluation.samples_per_prompt=1",
       "evaluation.hard_problems=0", "evaluation.during_every=0", "evaluation.sampling.max_new_tokens=4"});
  recipe.stages.resize(3);
  recipe.stages[0].pretrain.documents[0].count = 2;
  recipe.stages[2].sft.documents.resize(1);
  recipe.stages[2].sft.documents[0].count = 2;
  recipe.device = device;
  return recipe;
}

TEST(SimulatedDevice, RunsARecipeToTheCpusDigest) {
  const TestFolder folder;
  WriteSmallModel(folder / "model");
  SelfCommunicator self;
  std::string digests[2];
  for (const std::string device : {"cpu", "sim"}) {
    const std::string run = folder / device;
    const absl::Status status = RunRecipe(Recipe(folder / "model", device), run, self, Never);
    ASSERT_TRUE(status.ok()) << status;
    digests[device == "sim"] = Digest(run);
    const auto text = ReadFile(run + "/summary.json");
    ASSERT_TRUE(text.ok()) << text.status();
    for (const Json& row : Json::parse(*text)) EXPECT_EQ(row["exact"], true) << row;
  }
  EXPECT_EQ(digests[1], digests[0]);
}

}  // namespace
}  // namespace temper
