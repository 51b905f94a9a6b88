// SPDX-License-Identifier: Apache-2.0
// E3 of a whole recipe, every kind of stage, on ranks that share each layer's products, the vocabulary and
// the experts: the digest of one rank.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/threads.h"
#include "core/metrics.h"
#include "model/files/hugging_face.h"
#include "model/layout.h"
#include "tests/trainer/counted_cpu.h"
#include "tests/trainer/small_recipe.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

// Sizes that ranks share: SmallRecipe's model has three heads.
void WriteSharedModel(const std::string& directory) {
  WriteSmallModel(directory);
  Json json = TinyDeepseek();
  json.update(Json::parse(R"({"vocab_size": 357, "hidden_size": 24, "num_nextn_predict_layers": 1,
                              "bos_token_id": 1, "eos_token_id": 2, "num_attention_heads": 4,
                              "num_key_value_heads": 4, "moe_intermediate_size": 10})"));
  ASSERT_TRUE(WriteFileAtomic(directory + "/config.json", json.dump()).ok());
}

struct Meshes {
  MeshSizes trains;
  std::optional<MeshSizes> samples = {};  // none: the same
};

std::string TextOf(const Meshes& meshes) {
  return absl::StrCat("mesh", MeshText(meshes.trains), " rollout",
                      meshes.samples ? MeshText(*meshes.samples) : "");
}

class MeshRecipe : public testing::Test {
 protected:
  MeshRecipe() {
    WriteSharedModel(folder_ / "model");
    recipe_ = SmallRecipe(folder_ / "model");
  }

  // Each rank's `stop` is its own.
  void Run(
      const Meshes& meshes, const std::string& run, absl::StatusCode expected = absl::StatusCode::kOk,
      const std::function<bool(int rank)>& stop = [](int) { return false; }) {
    recipe_.mesh = meshes.trains;
    recipe_.rollout.mesh.reset();
    if (meshes.samples) recipe_.rollout.mesh = RolloutMesh{*meshes.samples};
    ThreadWorld(static_cast<int>(RanksOf(meshes.trains))).Run([&](Communicator& comm) {
      const absl::Status status = RunRecipe(recipe_, run, comm, [&] { return stop(comm.rank()); });
      EXPECT_EQ(status.code(), expected) << TextOf(meshes) << ", rank " << comm.rank() << ": " << status;
    });
  }

  std::string DigestOn(const Meshes& meshes) {
    const std::string run = folder_ / absl::StrCat("run-", runs_++);
    Run(meshes, run);
    ExpectPublished(meshes.samples.has_value(), run);
    if (recipe_.stages[0].pretrain.mtp_weight == 0)  // of whose files not all is the policy's
      ExpectItsPartWasRead(PlaceOf(meshes.trains, 0), run);
    return Digest(run);
  }

  static double SumOf(const std::string& figure, const std::string& run) {
    const auto lines = ReadMetrics(MetricsPath(run));
    EXPECT_TRUE(lines.ok()) << lines.status();
    double sum = 0;
    for (const MetricsLine& line : *lines) {
      const double* const value = line.Find(figure);
      sum += value == nullptr ? 0 : *value;
    }
    return sum;
  }
  // Of the last run.
  double SumOf(const std::string& figure) const {
    return SumOf(figure, folder_ / absl::StrCat("run-", runs_ - 1));
  }

  // By the first rank, of the weights that rl began with: nothing of what others keep, but the header.
  static void ExpectItsPartWasRead(const MeshPlace& place, const std::string& run) {
    const std::string from = LatestCheckpoint(run + "/base/checkpoints").value_or("");
    const auto config = ReadPolicyConfig(from);
    const auto lines = ReadMetrics(MetricsPath(run));
    ASSERT_TRUE(config.ok() && lines.ok()) << config.status() << lines.status();
    const auto first = std::find_if(lines->begin(), lines->end(),
                                    [](const MetricsLine& line) { return line.stage == "zero"; });
    ASSERT_NE(first, lines->end());
    const auto file = static_cast<int64_t>(std::filesystem::file_size(from + "/model.safetensors"));
    const int64_t others = Layout(*config).elements() - Layout(*config, place).elements();
    EXPECT_EQ(*first->Find("system/weights_read_bytes"), static_cast<double>(file - 4 * others)) << run;
    EXPECT_EQ(*std::next(first)->Find("system/weights_read_bytes"), 0) << run;
  }

  // Whether what samples was a policy of its own, to which the first rank sent weights.
  static void ExpectPublished(bool apart, const std::string& run) {
    EXPECT_EQ(SumOf("system/published_bytes", run) > 0, apart) << run;
  }

  const TestFolder folder_;
  RecipeConfig recipe_;
  int runs_ = 0;
};

TEST_F(MeshRecipe, HasTheDigestOfOneRank) {
  const std::string expected = DigestOn({{.dp_replicate = 1}});
  const std::vector<Meshes> all = {
      {{.dp_replicate = 1, .tp = 2}},
      {{.dp_replicate = 4, .tp = 2}},  // twice the gradient leaves
      {{.dp_replicate = 1, .ep = 2}, MeshSizes{.pp = 2}},
      {{.dp_replicate = 1, .tp = 2, .ep = 2}},
      {{.dp_replicate = 1, .dp_shard = 2, .pp = 2}, MeshSizes{.dp_replicate = 2, .tp = 2}},
      {{.dp_replicate = 2, .tp = 2}, MeshSizes{.dp_shard = 2, .ep = 2}}};
  for (const Meshes& meshes : all) EXPECT_EQ(DigestOn(meshes), expected) << TextOf(meshes);
  for (StageConfig& stage : recipe_.stages) stage.pretrain.mtp_weight = stage.sft.mtp_weight = 0.3;
  const std::string with_mtp = DigestOn({{.dp_replicate = 1}});
  EXPECT_NE(with_mtp, expected);
  for (StageConfig& stage : recipe_.stages)
    for (SamplingConfig* const sampling :
         {&stage.rl.sampling, &stage.collect.sampling, &stage.evaluation.sampling}) {
      sampling->drafts = Drafts::kMtp;
      sampling->max_batch = 3;
    }
  for (const Meshes& meshes :
       std::vector<Meshes>{{{.dp_replicate = 1, .dp_shard = 2}, MeshSizes{.tp = 2}},
                           {{.dp_replicate = 1, .pp = 2}},
                           {{.dp_replicate = 2, .tp = 2}, MeshSizes{.dp_shard = 2, .ep = 2}}}) {
    EXPECT_EQ(DigestOn(meshes), with_mtp) << TextOf(meshes);
    EXPECT_GT(SumOf("system/accepted_tokens"), 0) << TextOf(meshes);
  }
}

// What samples when its training is over takes no memory before that.
TEST_F(MeshRecipe, HasOnePolicyWhileAStageOnlyTrains) {
  recipe_ = SmallRecipe(folder_ / "model", {"evaluation.sampling={cache_mib: 1, max_batch: 4}",
                                            "stages.base.pretrain.tokens_per_microbatch=1024"});
  recipe_.stages.resize(1);
  recipe_.mesh = {.dp_replicate = 1, .dp_shard = 2};
  const auto peaks = [&](const std::string& run) {
    std::vector<int64_t> bytes(2);
    ThreadWorld(2).Run([&](Communicator& comm) {
      ThreadPool pool(1);
      CountedCpu backend(&pool);
      EXPECT_TRUE(RunRecipe(recipe_, run, comm, Never, &backend).ok());
      bytes[comm.rank()] = backend.peak_bytes();
    });
    return bytes;
  };
  const std::vector<int64_t> together = peaks(folder_ / "together");
  recipe_.rollout.mesh = RolloutMesh{{.dp_replicate = 2}};
  EXPECT_EQ(peaks(folder_ / "apart"), together);
  EXPECT_EQ(Digest(folder_ / "apart"), Digest(folder_ / "together"));
}

// With weights rounded to bf16; a stop on one pair of meshes, after which it goes on on another.
TEST_F(MeshRecipe, GoesOnOnOtherMeshesForWhatTrainsAndWhatSamples) {
  recipe_.weights = kernels::Type::kBf16;
  const std::string expected = DigestOn({{.dp_replicate = 1}});
  std::atomic<int64_t> asked = 0;
  const Meshes before = {{.dp_replicate = 1, .dp_shard = 2}, MeshSizes{.tp = 2}};
  Run(before, folder_ / "whole", absl::StatusCode::kOk, [&](int rank) { return rank == 0 && ++asked < 0; });
  EXPECT_EQ(Digest(folder_ / "whole"), expected);
  ExpectPublished(true, folder_ / "whole");
  const int64_t third = asked / 3;
  asked = 0;
  Run(before, folder_ / "stopped", absl::StatusCode::kCancelled,
      [&](int rank) { return rank == 0 && ++asked >= third; });
  Run({{.dp_replicate = 1, .tp = 2}, MeshSizes{.dp_replicate = 2}}, folder_ / "stopped");
  EXPECT_EQ(Digest(folder_ / "stopped"), expected);
}

}  // namespace
}  // namespace temper
