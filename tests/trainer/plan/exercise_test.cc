// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/exercise.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "trainer/recipe.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

absl::StatusOr<std::string> Exercised(const std::vector<std::string>& set, const ExerciseOptions& options) {
  return ExerciseText(*ReadRecipeFields("configs/tiny/short.yaml", set), options);
}

// Axes of 2, alone and beside each other; three layers on two ranks.
TEST(Exercise, MatchesAllMessagesOfAnyMesh) {
  const std::vector<std::pair<int, std::vector<std::string>>> meshes = {
      {1, {}},
      {3, {}},
      {8, {"mesh.pp=2", "mesh.tp=2"}},
      {4, {"mesh.pp=3", "mesh.dp_replicate=1"}},
      {4, {"mesh.dp_shard=2", "mesh.tp=2"}},
      {8, {"mesh.pp=2", "mesh.ep=2", "mesh.tp=2", "mesh.sequence_parallel=true"}},
      {8, {"mesh.dp_shard=2", "mesh.ep=2", "mesh.tp=2"}},
      {16, {"mesh.pp=2", "mesh.dp_shard=2", "mesh.ep=2", "mesh.tp=2", "mesh.pp_schedule=zero_bubble"}},
  };
  for (const auto& [ranks, set] : meshes) {
    const int all = set.size() == 2 && set[0] == "mesh.pp=3" ? 3 : ranks;
    const auto text = Exercised(set, {.ranks = all});
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_THAT(*text, AllOf(HasSubstr("base (pretrain)\n  did       on each of "), HasSubstr("zero (rl)\n"),
                             HasSubstr(" were sent and taken; of tensors "),
                             HasSubstr("  plan      the bytes of an update are the plan's, part by part\n"),
                             HasSubstr(" at once, which is the most; the plan's sum is ")));
  }
}

TEST(Exercise, FindsAMessageThatIsSwallowed) {
  const auto text =
      Exercised({"mesh.pp=2", "mesh.tp=2"},
                {.ranks = 4, .spoil = [](MessageLog* log) { log->of(2).Forget(log->of(2).size() / 2); }});
  EXPECT_THAT(std::string(text.status().message()),
              AllOf(HasSubstr("stage base: rank "), HasSubstr(", update, message ")));
}

TEST(Exercise, SaysWhatDoesNotFitADevice) {
  const Cluster cluster{.nodes = 1, .per_node = 4, .device = {"small", 0.1, 1, 1, 1, 1}};
  const auto text = Exercised({"mesh.tp=2"}, {.ranks = 4, .cluster = &cluster});
  EXPECT_THAT(std::string(text.status().message()),
              AllOf(HasSubstr("stage base: rank "), HasSubstr(" at once, and a device has 102 MiB")));
}

}  // namespace
}  // namespace temper
