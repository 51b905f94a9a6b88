// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "trainer/recipe.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

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
