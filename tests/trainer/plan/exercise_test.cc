// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/exercise.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "trainer/recipe.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

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
      {8, {"mesh.dp_shard=2", "mesh.ep=2", "mesh.tp=2", "rollout.mesh={pp: 2, tp: 2}"}},
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

// What ranks take at once, on the code that runs, beside what the plan counts pool by pool; also where leaves
// of several microbatches hold gradients of all layers.
TEST(Exercise, TakesTheMemoryOfThePlan) {
  using Set = std::vector<std::string>;
  for (const auto& [ranks, set] :
       {std::pair(1, Set{"rl.checkpoint_in_background=true"}), std::pair(4, Set{"mesh.dp_shard=2"}),
        std::pair(4, Set{"mesh.pp=2", "mesh.tp=2", "rollout.mesh={dp_replicate: 2, ep: 2}", "weights=bf16"}),
        std::pair(4, Set{"mesh.ep=2", "mesh.dp_shard=2"}), std::pair(2, Set{"mesh.cp=2"}),
        std::pair(4, Set{"mesh.dp_shard=4", "rl.tokens_per_microbatch=560"}),
        std::pair(8, Set{"mesh.pp=2", "mesh.dp_shard=2", "mesh.ep=2", "mesh.pp_schedule=zero_bubble"})}) {
    SCOPED_TRACE(absl::StrJoin(set, " "));
    Set alone = set;
    alone.push_back("evaluation.during_every=0");  // whose cache the plan counts besides
    const auto text = Exercised(alone, {.ranks = ranks});
    ASSERT_TRUE(text.ok()) << text.status();
    int stages = 0;
    for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
      constexpr absl::string_view kBefore = "MiB, ";
      const size_t at = line.find("the plan's sum is ");
      if (at == line.npos) continue;
      ++stages;
      int percent = 0;
      const absl::string_view rest = line.substr(line.find(kBefore, at) + kBefore.size());
      ASSERT_TRUE(absl::SimpleAtoi(rest.substr(0, rest.find('%')), &percent)) << line;
      EXPECT_NEAR(percent, 100, 10) << line;
    }
    EXPECT_EQ(stages, 6);
  }
}

TEST(Exercise, FindsAMessageThatIsSwallowed) {
  const auto text =
      Exercised({"mesh.pp=2", "mesh.tp=2"},
                {.ranks = 4, .spoil = [](MessageLog* log) { log->of(2).Forget(log->of(2).size() / 2); }});
  EXPECT_THAT(std::string(text.status().message()),
              AllOf(HasSubstr("stage base: rank "), HasSubstr(", update, message ")));
}

TEST(Exercise, NamesTheKeysOfTheMeshThatDoesNotCutTheModel) {
  for (const char* const mesh : {"mesh", "rollout.mesh"}) {
    const auto text = Exercised({absl::StrCat(mesh, "={tp: 3}")}, {.ranks = 3});
    EXPECT_THAT(std::string(text.status().message()), StartsWith(absl::StrCat(mesh, ".tp is 3, but ")));
    const auto ranks = Exercised({absl::StrCat(mesh, "={tp: 3}")}, {.ranks = 4});
    EXPECT_THAT(std::string(ranks.status().message()), StartsWith(absl::StrCat(mesh, ".tp is 3, and 4 ")));
  }
}

TEST(Exercise, SaysWhatDoesNotFitADevice) {
  const Cluster cluster{.nodes = 1, .per_node = 4, .device = {"small", 0.1, 1, 1, 1, 1}};
  const auto text = Exercised({"mesh.tp=2"}, {.ranks = 4, .cluster = &cluster});
  EXPECT_THAT(std::string(text.status().message()),
              AllOf(HasSubstr("stage base: rank "), HasSubstr(" at once, and a device has 102 MiB")));
}

}  // namespace
}  // namespace temper
