// SPDX-License-Identifier: Apache-2.0
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "trainer/plan.h"
#include "trainer/problems.h"
#include "trainer/recipe.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

class Answers : public testing::Test {
 protected:
  void SetUp() override {
    auto tokenizer = Tokenizer::Load("configs/tiny/base");
    ASSERT_TRUE(tokenizer.ok());
    tokenizer_ = *std::move(tokenizer);
    auto pool = RewardPool::Create(RewardConfig(), 1);
    ASSERT_TRUE(pool.ok());
    pool_ = *std::move(pool);
    config_.files = {testing::TempDir() + "/answers.jsonl"};
    std::ofstream(config_.files[0]) << R"({"question": "1 + 1?", "answer": "#### 2"})"
                                    << "\n"
                                    << R"({"question": "2 + 2?", "answer": ""})"
                                    << "\n";
  }
  absl::StatusOr<std::unique_ptr<ProblemSource>> Open() {
    return ProblemSource::Open(config_, *tokenizer_, RecipeConfig(), "stream", Split::kTrain);
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<RewardPool> pool_;
  ProblemsConfig config_;
};

TEST_F(Answers, AProblemThatNoRuleCanJudgeStopsTheStageBeforeItTrains) {
  const auto source = Open();
  ASSERT_TRUE(source.ok()) << source.status();
  const absl::Status status = (*source)->CheckAnswers(*pool_);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(config_.files[0]));
  EXPECT_THAT(std::string(status.message()), HasSubstr("reference answer"));
}

TEST_F(Answers, IsLeftOutIfBadLinesAreSkipped) {
  config_.skip_bad_lines = true;
  const auto source = Open();
  ASSERT_TRUE(source.ok()) << source.status();
  ASSERT_TRUE((*source)->CheckAnswers(*pool_).ok());
  EXPECT_EQ((*source)->size(), 1);
  EXPECT_EQ((*source)->skipped_lines(), 1);
  EXPECT_EQ((*source)->Take(0, 1)->at(0).answer, "2");
}

TEST(Plan, TellsBatchSizesInTheirWordsAndMemoryByPool) {
  const auto recipe = ReadRecipe("configs/tiny/short.yaml", {}, /*ranks=*/1);
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  const auto plan = PlanText(*recipe, 1);
  ASSERT_TRUE(plan.ok()) << plan.status();
  for (const char* word : {"prompts_per_step 8", "samples_per_prompt 4", "rollout_batch 64",
                           "updates_per_rollout 2", "tokens_per_microbatch 4096", "weights", "gradients",
                           "optimizer", "activations", "reference", "cache", "sum"}) {
    EXPECT_THAT(*plan, HasSubstr(word));
  }
}

}  // namespace
}  // namespace temper
