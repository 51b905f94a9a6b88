// SPDX-License-Identifier: Apache-2.0
// R1-Zero on DeepSeek-V3's own sizes, on all 512 ranks of its cluster: each does a rollout step and an update
// with no memory behind it.
#include <sys/resource.h>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/test_folder.h"
#include "tests/trainer/published_models.h"
#include "trainer/plan/exercise.h"
#include "trainer/recipe.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(ExerciseOfDeepseekV3, On512RanksIsThePlanAndFits) {
  const std::string source = std::filesystem::current_path();
  const TestFolder folder;
  WritePublishedModel(source, folder / "DeepSeek-V3-Base", DeepseekV3Config());
  const std::string recipe_path = folder / "r1_zero.yaml";
  std::filesystem::copy_file(source + "/configs/deepseek_v3/r1_zero_64x8xh800.yaml", recipe_path);
  absl::StatusOr<RecipeConfig> recipe = ReadRecipeFields(recipe_path, {});
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  recipe->stages.resize(1);
  recipe->device = "cuda";
  const Cluster cluster = *ParseCluster("64x8xh800");
  const absl::Time began = absl::Now();
  const auto text = ExerciseText(*recipe, {.ranks = 512, .cluster = &cluster});
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, AllOf(HasSubstr("on each of 512 ranks"), HasSubstr("were sent and taken"),
                           HasSubstr("the bytes of an update are the plan's, part by part"),
                           HasSubstr("% of a device")));
  EXPECT_LT(absl::Now() - began, absl::Minutes(10));
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  EXPECT_LT(usage.ru_maxrss, 8 << 20) << "KiB";
}

}  // namespace
}  // namespace temper
