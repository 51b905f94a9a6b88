// SPDX-License-Identifier: Apache-2.0
#include "trainer/sampling.h"

#include "core/metrics.h"
#include "gmock/gmock.h"
#include "rollout/engine.h"
#include "tests/trainer/small_recipe.h"
#include "trainer/rl_metrics.h"

namespace temper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Sampling, OfARecipeReachesTheEngineWhole) {
  SamplingConfig config;
  const absl::Status read = ReadConfig(
      "{max_new_tokens: 7, min_new_tokens: 4, temperature: 0.5, top_p: 0.75, top_k: 3, min_p: 0.125, "
      "ignore_eos: true, stop: [a, \"b,c\"], stop_token_ids: [9, 4], draft_tokens: 3, "
      "drafts: mtp}",
      "sampling", {}, config);
  ASSERT_TRUE(read.ok()) << read;
  const SamplingOptions options = config.For({2, 5}, nullptr);
  EXPECT_EQ(EngineOptionsOf(config).draft_tokens, 3);
  EXPECT_TRUE(EngineOptionsOf(config).mtp);
  EXPECT_EQ(options.max_new_tokens, 7);
  EXPECT_EQ(options.min_new_tokens, 4);
  EXPECT_THAT(options.stop_ids, ElementsAre(9, 4));
  EXPECT_EQ(options.parameters.temperature, 0.5f);
  EXPECT_EQ(options.parameters.top_p, 0.75f);
  EXPECT_EQ(options.parameters.top_k, 3);
  EXPECT_EQ(options.parameters.min_p, 0.125f);
  EXPECT_TRUE(options.ignore_eos);
  EXPECT_THAT(options.stop_strings, ElementsAre("a", "b,c"));
  EXPECT_THAT(options.eos_ids, ElementsAre(2, 5));
}

TEST(Sampling, OfGroupsThatTrainIsNotAtZeroAndNoStopTextIsEmpty) {
  const auto read = [](const std::string& yaml) {
    RlConfig config;
    return std::string(ReadConfig(yaml, "rl.yaml", {}, config).message());
  };
  EXPECT_EQ(read("sampling: {temperature: 0.01, stop: [x]}"), "");
  EXPECT_THAT(read("sampling: {temperature: 0}"), HasSubstr("rl.yaml:1: sampling.temperature: is too low"));
  EXPECT_THAT(read("sampling: {stop: [x, \"\"]}"), HasSubstr("rl.yaml:1: sampling.stop: the text is empty"));
  EXPECT_THAT(read("sampling: {stop_token_ids: [3, -1]}"), HasSubstr("rl.yaml:1: sampling.stop_token_ids"));
  EXPECT_EQ(read("sampling: {max_new_tokens: 5, min_new_tokens: 5}"), "");
  EXPECT_THAT(read("sampling: {max_new_tokens: 5, min_new_tokens: 6}"),
              HasSubstr("rl.yaml:1: sampling.min_new_tokens: is more than max_new_tokens"));
  EvaluationConfig evaluation;
  EXPECT_TRUE(ReadConfig("sampling: {temperature: 0}", "greedy.yaml", {}, evaluation).ok());
}

// Of the likeliest token alone the completions of a group are one, and so are their rewards.
TEST(Sampling, OfTheLikeliestTokenMakesGroupsWithoutSpread) {
  const TestFolder folder;
  WriteSmallModel(folder / "model");
  const RecipeConfig recipe = SmallRecipe(folder / "model", {"rl.sampling.top_k=1"});
  SelfCommunicator self;
  const absl::Status status = RunRecipe(recipe, folder / "run", self, Never);
  ASSERT_TRUE(status.ok()) << status;
  const auto lines = ReadMetrics(folder / "run/metrics.jsonl");
  ASSERT_TRUE(lines.ok());
  int updates = 0;
  for (const MetricsLine& line : *lines) {
    const double* const alike = line.Find("groups/without_spread");
    if (line.stage != "zero" || alike == nullptr) continue;
    ++updates;
    EXPECT_EQ(*alike, 3) << line.step;
  }
  EXPECT_GT(updates, 0);
}

}  // namespace
}  // namespace temper
