// SPDX-License-Identifier: Apache-2.0
// E3 and E4 of a whole recipe, every kind of stage, on every layout of 1, 2, 3, 4, 6 and 8 ranks that the
// heads, experts and layers of configs/tiny's policies allow, here of narrow ones: threads stand for the
// ranks. A good part of sequences are long, and every other layout has another one of as many ranks for what
// samples.
#include <atomic>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/threads.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "model/files/hugging_face.h"
#include "model/layout.h"
#include "tests/trainer/small_recipe.h"

namespace temper {
namespace {

constexpr int64_t kLeaves = 8;

struct Model {
  const char* name;    // in configs/tiny
  const char* narrow;  // in its config.json
  size_t layouts;      // that it allows
};

struct RecipeLayout {
  MeshSizes trains;
  std::optional<MeshSizes> samples = {};
};

std::string TextOf(const RecipeLayout& layout) {
  return absl::StrCat(RanksOf(layout.trains), " ranks:", MeshText(layout.trains),
                      layout.samples ? absl::StrCat(" /", MeshText(*layout.samples)) : "");
}

// Calls body(sizes) for every way to share `ranks` out to the axes from `axis` on.
void ForEachMesh(int64_t ranks, int axis, MeshSizes sizes, const std::function<void(MeshSizes)>& body) {
  if (axis == kAxes) return ranks == 1 ? body(sizes) : void();
  for (int64_t size = 1; size <= ranks; ++size) {
    if (ranks % size != 0) continue;
    sizes.at(static_cast<Axis>(axis)) = size;
    ForEachMesh(ranks / size, axis + 1, sizes, body);
  }
}

// About half of those with tp share the tokens, of those with pp have dW apart.
std::vector<RecipeLayout> AllLayouts(const ModelConfig& model) {
  std::vector<RecipeLayout> all;
  for (const int64_t ranks : {1, 2, 3, 4, 6, 8}) {
    const size_t first = all.size();
    std::vector<MeshSizes> sampling;  // has no cp
    ForEachMesh(ranks, 0, {.dp_replicate = 1}, [&](MeshSizes sizes) {
      if (DataRanks(sizes) > kLeaves || !CheckMesh(model, sizes).ok()) return;
      if (sizes.cp == 1) sampling.push_back(sizes);
      sizes.sequence_parallel = sizes.tp > 1 && all.size() % 2 == 0;
      if (all.size() % 4 < 2) sizes.pp_schedule = PipelineKind::kZeroBubble;
      all.push_back({sizes});
    });
    for (size_t i = first; i < all.size(); i += 2)
      all[i].samples = sampling[(i - first) * 7 % sampling.size()];
  }
  return all;
}

class EveryLayout : public testing::TestWithParam<Model> {
 protected:
  EveryLayout() {
    const std::string from = absl::StrCat("configs/tiny/", GetParam().name);
    std::filesystem::copy(from, folder_ / "model");
    Json json = Json::parse(*ReadFile(from + "/config.json"));
    json.update(Json::parse(GetParam().narrow));
    EXPECT_TRUE(WriteFileAtomic(folder_ / "model/config.json", json.dump()).ok());
    std::vector<std::string> overrides;
    for (const char* updates : {"rl", "stages.base.pretrain", "stages.cold_start.sft", "stages.sft.sft"}) {
      overrides.push_back(absl::StrCat(updates, ".gradient_leaves=", kLeaves));
      overrides.push_back(absl::StrCat(updates, ".long_sequence_tokens=40"));
    }
    recipe_ = SmallRecipe(folder_ / "model", overrides);
    layouts_ = AllLayouts(*ReadPolicyConfig(folder_ / "model"));
    Start({{.dp_replicate = 1}}, folder_ / "alone", [&] { return ++calls_ < 0; });
    expected_ = Digest(folder_ / "alone");
  }

  // Whether it went to its end. The first rank's `stop` is asked.
  bool Start(const RecipeLayout& layout, const std::string& run, const std::function<bool()>& stop) {
    recipe_.mesh = layout.trains;
    recipe_.rollout.mesh.reset();
    if (layout.samples) recipe_.rollout.mesh = RolloutMesh{*layout.samples};
    std::atomic<bool> done = false;
    ThreadWorld(static_cast<int>(RanksOf(layout.trains))).Run([&](Communicator& comm) {
      const bool first = comm.rank() == 0;
      const absl::Status status = RunRecipe(recipe_, run, comm, [&] { return first && stop(); });
      EXPECT_TRUE(status.ok() || absl::IsCancelled(status)) << TextOf(layout) << ": " << status;
      if (first) done = status.ok();
    });
    return done;
  }

  const TestFolder folder_;
  RecipeConfig recipe_;
  std::vector<RecipeLayout> layouts_;
  int64_t calls_ = 0;  // of stop, on one rank
  std::string expected_;
};

TEST_P(EveryLayout, HasTheDigestOfOneRank) {
  EXPECT_EQ(layouts_.size(), GetParam().layouts);
  for (const RecipeLayout& layout : layouts_) {
    const std::string run = folder_ / "run";
    ASSERT_TRUE(Start(layout, run, Never)) << TextOf(layout);
    ASSERT_EQ(Digest(run), expected_) << TextOf(layout);
    std::filesystem::remove_all(run);
  }
}

// A run is stopped on each layout once, some six times on its way, and goes on on one of another number of
// ranks mostly.
TEST_P(EveryLayout, GoesOnOnAnyOther) {
  constexpr size_t kStride = 37;  // has no divisor in common with how many there are
  ASSERT_NE(layouts_.size() % kStride, 0u);
  for (size_t i = 0, starts = 0; i < layouts_.size(); starts = 0) {
    const std::string run = folder_ / "run";
    std::string way;
    for (bool done = false; !done && starts < 40; ++i, ++starts) {
      const RecipeLayout& layout = layouts_[i * kStride % layouts_.size()];
      int64_t calls = 0;
      done = Start(layout, run, [&] { return ++calls > calls_ / 6; });
      absl::StrAppend(&way, TextOf(layout), "; ");
    }
    EXPECT_GT(starts, 3u) << way;
    ASSERT_EQ(Digest(run), expected_) << way;
    std::filesystem::remove_all(run);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Of, EveryLayout,
    testing::Values(Model{"base", R"({"hidden_size": 24, "intermediate_size": 40, "moe_intermediate_size": 12,
                                      "kv_lora_rank": 8, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4,
                                      "v_head_dim": 6})",
                          96},
                    Model{"student", R"({"hidden_size": 24, "intermediate_size": 40})", 61}),
    [](const auto& model) { return std::string(model.param.name); });

}  // namespace
}  // namespace temper
