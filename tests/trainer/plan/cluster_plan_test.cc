// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/cluster_plan.h"

#include <map>
#include <vector>

#include "comm/threads.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/model/odd_models.h"
#include "tests/model/slices.h"
#include "tests/trainer/small_recipe.h"
#include "tests/trainer/update/sample.h"
#include "trainer/plan/footprint.h"
#include "trainer/recipe.h"
#include "trainer/update/leaf_gradients.h"
#include "trainer/update/pipeline.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Json Shared() {
  Json json = TinyLlama();
  json.update(Json::parse(R"({"num_attention_heads": 8, "num_key_value_heads": 4, "hidden_size": 32,
    "num_hidden_layers": 4})"));
  return json;
}

// What is counted without other ranks is what ranks send each other.
TEST(Footprint, CountsWhatRanksSendForAMicrobatch) {
  const ModelConfig config = Parsed(Shared());
  UpdatesConfig updates;
  updates.tokens_per_microbatch = 50;
  for (const MeshSizes& sizes : std::vector<MeshSizes>{{.dp_replicate = 1, .tp = 4},
                                                       {.dp_replicate = 1, .pp = 2, .tp = 2},
                                                       {.dp_replicate = 1, .dp_shard = 2, .pp = 2}}) {
    const int64_t count = sizes.pp == 1 ? 1 : 2 * sizes.pp;
    Microbatch batch;
    batch.tokens.resize(50);
    batch.targets.resize(50);
    batch.lengths = {50};
    const std::vector<Microbatch> batches(count, batch);
    ThreadWorld(4).Run([&](Communicator& world) {
      const Mesh mesh = *Mesh::Create(sizes, world);
      Policy policy(Shared(), mesh);
      const auto leaves = MakeLeafGradients(&policy.model, {});
      std::vector<int64_t> before;
      for (int i = 0; i < kAxes; ++i) before.push_back(mesh.axis(static_cast<Axis>(i)).sent_bytes());
      Pipeline(&policy.model, updates.keep)
          .Run(batches, 1,
               {.loss = [](size_t, const float*, float*) {},
                .bind =
                    [&](size_t b) {
                      leaves->Bind({static_cast<int64_t>(b), /*last=*/true});
                    },
                .head_done = [](size_t) {},
                .done = [](size_t) {}});
      const UpdateFootprint footprint = FootprintOf(config, {.mesh = mesh.place()}, updates, 0);
      for (const Axis axis : {Axis::kTp, Axis::kPp, Axis::kDpShard}) {
        const int i = static_cast<int>(axis);
        EXPECT_EQ(footprint.sent[i], (mesh.axis(axis).sent_bytes() - before[i]) / count) << AxisName(axis);
        EXPECT_EQ(footprint.sent[i] > 0, sizes[axis] > 1) << AxisName(axis);
      }
    });
  }
}

// Ranks that share a policy take their share of it.
TEST(Footprint, IsAShareOfThePolicy) {
  const ModelConfig config = Parsed(Shared());
  const UpdatesConfig updates;
  const auto on = [&](const MeshSizes& sizes) {
    return FootprintOf(config, {.mesh = PlaceOf(sizes, 0)}, updates, 0);
  };
  const UpdateFootprint one = on({.dp_replicate = 1}), tensor = on({.dp_replicate = 1, .tp = 4}),
                        pipeline = on({.dp_replicate = 1, .pp = 4}), replicas = on({.dp_replicate = 4});
  EXPECT_EQ(replicas.weights, one.weights);
  EXPECT_EQ(replicas.activations, one.activations);
  // Norms are whole on every rank.
  EXPECT_LT(tensor.weights, one.weights / 3);
  EXPECT_GE(tensor.weights, one.weights / 4);
  EXPECT_EQ(tensor.trained, tensor.weights);
  EXPECT_LT(pipeline.weights, one.weights / 2);
  for (int64_t bytes : one.sent) EXPECT_EQ(bytes, 0);
  EXPECT_GT(replicas.sent_sum[static_cast<int>(Axis::kDpReplicate)], 2 * one.trained);
}

TEST(Cluster, IsMachinesTimesDevices) {
  const auto cluster = ParseCluster("64x8xH800");
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ(cluster->ranks(), 512);
  EXPECT_STREQ(cluster->device.name, "h800");
  for (const char* text : {"", "8xh100", "0x8xh100", "1x99xh100", "axbxh100", "1x8xh100x2", "-1x8xh100"})
    EXPECT_THAT(std::string(ParseCluster(text).status().message()), HasSubstr("is no MACHINESxDEVICESxNAME"))
        << text;
  EXPECT_THAT(std::string(ParseCluster("1x8xv100").status().message()),
              AllOf(HasSubstr("--cluster 1x8xv100: v100 is none of "), HasSubstr("h800")));
}

TEST(ClusterPlan, TellsMemoryMessagesAndTimeOfEachStage) {
  RecipeConfig recipe = *ReadRecipeFields("configs/tiny/short.yaml", {"mesh.tp=2"});
  recipe.device = "cuda";
  const auto text = ClusterPlanText(recipe, *ParseCluster("1x8xh100"));
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, AllOf(HasSubstr("1 x 8 h100: dp_replicate 4 tp 2\n"),
                           HasSubstr("zero (rl)\n  memory    weights "),
                           HasSubstr("a rank sends an update dp_replicate "), HasSubstr("  update    "),
                           HasSubstr("  rollout   "), HasSubstr("device hours\n"), HasSubstr("Assumed: ")));
  recipe.stages[0].pretrain.tokens_per_microbatch = int64_t{1} << 26;
  EXPECT_THAT(*ClusterPlanText(recipe, *ParseCluster("1x8xh100")),
              HasSubstr("DOES NOT FIT, most of it are activations"));
  recipe.mesh.tp = 3;
  EXPECT_THAT(std::string(ClusterPlanText(recipe, *ParseCluster("1x9xh100")).status().message()),
              HasSubstr("mesh.tp is 3, but it has to divide"));
}

}  // namespace
}  // namespace temper
