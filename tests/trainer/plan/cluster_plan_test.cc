// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/cluster_plan.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "comm/threads.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/kv_cache.h"
#include "tests/model/odd_models.h"
#include "tests/model/slices.h"
#include "tests/trainer/small_recipe.h"
#include "tests/trainer/update/sample.h"
#include "trainer/plan/estimate.h"
#include "trainer/plan/footprint.h"
#include "trainer/plan/search.h"
#include "trainer/recipe.h"
#include "trainer/weight_sync.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Json Shared() {
  Json json = TinyLlama();
  json.update(Json::parse(R"({"num_attention_heads": 8, "num_key_value_heads": 4, "hidden_size": 32,
    "num_hidden_layers": 4})"));
  return json;
}

// What is counted without other ranks is what ranks send each other.
TEST(Footprint, CountsWhatRanksSendForAnUpdate) {
  const ModelConfig config = Parsed(Shared());
  UpdatesConfig updates;
  updates.tokens_per_microbatch = 50;
  for (const MeshSizes& sizes :
       std::vector<MeshSizes>{{.dp_replicate = 2, .tp = 2},
                              {.dp_replicate = 1, .pp = 2, .tp = 2},
                              {.dp_replicate = 1, .pp = 2, .tp = 2, .sequence_parallel = true}}) {
    for (const UpdateSize& size : std::vector<UpdateSize>{{1, 2}, {3, 5}}) {
      ThreadWorld(4).Run([&](Communicator& world) {
        const Mesh mesh = *Mesh::Create(sizes, world);
        Policy policy(Shared(), mesh);
        Optimizer optimizer(&policy.model);
        const int64_t before = mesh.axis(Axis::kTp).sent_bytes();
        EvenUpdate(config, updates, 0, size).Run(&policy.model, &optimizer);
        const PartBytes sent = MessagesOf(config, {.mesh = mesh.place()}, updates, 0, size);
        const int64_t by_tp = mesh.axis(Axis::kTp).sent_bytes() - before;
        EvenUpdate(config, updates, 0, size).Score(&policy.model);
        EXPECT_EQ(MessagesOf(config, {.mesh = mesh.place()}, updates, 0, size,
                             PassOf::kReference)[static_cast<int>(Axis::kTp)],
                  mesh.axis(Axis::kTp).sent_bytes() - before - by_tp);
        // Of ranks that have all weights one may have taken over the other's leaf.
        EXPECT_EQ(mesh.dp().Sum(sent[static_cast<int>(Axis::kTp)]), mesh.dp().Sum(by_tp));
        EXPECT_EQ(sent[kKeepersPart] > 0, sizes.dp_replicate > 1);
        EXPECT_EQ(sent[static_cast<int>(Axis::kPp)] > 0, sizes.pp > 1);
      });
    }
  }
}

TEST(Footprint, CountsWhatRanksSendForAPassThatDecodes) {
  const ModelConfig config = Parsed(Shared());
  ThreadWorld(4).Run([&](Communicator& world) {
    const Mesh mesh = *Mesh::Create({.dp_shard = 2, .tp = 2}, world);
    Policy policy(Shared(), mesh);
    TokenBatch batch;
    const std::vector<int32_t> pages = {0, 1, 2}, rows = {0, 1, 2};
    for (const int32_t& page : pages) {
      batch.sequences.push_back({.rows = 1, .pages = {&page, 1}});
      batch.tokens.push_back(page + 3);
    }
    const KvCache cache(config, 3, policy.model.backend(), mesh.place());
    const int64_t by_tp = mesh.axis(Axis::kTp).sent_bytes(), by_sharers = mesh.sharers().sent_bytes();
    policy.model.Forward(batch, cache, rows);
    const PartBytes sent = DecodeMessagesOf(config, {.mesh = mesh.place()}, 3);
    EXPECT_EQ(sent[static_cast<int>(Axis::kTp)], mesh.axis(Axis::kTp).sent_bytes() - by_tp);
    EXPECT_EQ(sent[kSharersPart], mesh.sharers().sent_bytes() - by_sharers);
    EXPECT_GT(sent[kSharersPart], 4 * policy.model.parameters().layout().trained_elements() / 2);
  });
}

// As many rows as ranks share out experts between them: none gets nothing.
TEST(Footprint, CountsWhatAFewRowsSendToExpertsOfManyRanks) {
  const ModelConfig config = Parsed(OddDeepseek());
  const auto sent = [&](int64_t rows) {
    return DecodeMessagesOf(config, {.mesh = PlaceOf({.dp_replicate = 1, .ep = 8}, 0)},
                            rows)[static_cast<int>(Axis::kEp)];
  };
  // A row there and back, of one layer with experts, to each of seven.
  EXPECT_GE(sent(1), 7 * 2 * 4 * config.hidden_size);
  EXPECT_EQ(sent(8), sent(7));
}

// What is counted without other ranks is what goes to the mesh that samples.
TEST(Footprint, CountsWhatARankPublishes) {
  const ModelConfig config = Parsed(Shared());
  const Parameters whole = RandomParameters(config);
  ThreadWorld(4).Run([&](Communicator& world) {
    const MeshPlace trains = PlaceOf({.dp_replicate = 1, .pp = 2, .tp = 2}, world.rank()),
                    samples = PlaceOf({.dp_replicate = 2, .dp_shard = 2}, world.rank());
    ThreadPool pool(1);
    kernels::CpuBackend backend(&pool);
    const Parameters mine = Slice(whole, Layout(config, trains));
    Parameters copy = WithoutNumbers(config, samples, backend);
    const int64_t before = world.sent_bytes();
    WeightSync(config, mine.layout(), copy.layout()).Copy(mine, world, &copy);
    EXPECT_EQ(world.sent_bytes() - before, PublishedBytes(config, {.mesh = trains}, {.mesh = samples}));
  });
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
  const auto sent = [&](const MeshSizes& sizes) {
    return MessagesOf(config, {.mesh = PlaceOf(sizes, 0)}, updates, 0, {});
  };
  EXPECT_EQ(sent({.dp_replicate = 1}), PartBytes());
  EXPECT_GT(sent({.dp_replicate = 4})[kKeepersPart], 2 * one.trained);
}

// A leaf of several microbatches holds a gradient of all layers until its last; one of long sequences, or of
// one microbatch, that of a layer. Where sequences may be long, an update may have short ones alone.
TEST(Footprint, IsOfTheUpdateThatTakesMost) {
  const ModelConfig config = Parsed(Shared());
  UpdatesConfig updates;
  const PolicyPlace place{.mesh = PlaceOf({.dp_replicate = 1, .dp_shard = 4}, 0)};
  const int64_t all_layers = 4 * Layout(config).trained_elements();
  const auto gradients = [&](int64_t long_tokens, int64_t longest, int64_t microbatches) {
    updates.long_sequence_tokens = long_tokens;
    return FootprintOf(config, place, updates, longest, {1, microbatches}).gradients;
  };
  EXPECT_LT(gradients(0, 0, 1), 3 * all_layers);  // with the sums, of 2
  EXPECT_GE(gradients(0, 0, 2), gradients(0, 0, 1) + all_layers / 2);
  EXPECT_GE(gradients(1025, 1100, 8), gradients(1, 1100, 8) + all_layers / 4);
}

// On a rank that has its weights whole: of one leaf its gradient, of more the sum, which is two as large, and
// from the third on what lies between a unit's first product and its last. A tied head takes nothing more but
// its tokens' rows.
TEST(Footprint, OfManyLeavesIsTheSumAndAUnit) {
  UpdatesConfig updates;
  updates.tokens_per_microbatch = 64;
  for (const Json& json : {With(OddLlama(), "vocab_size", 20011), With(OddQwen2(), "vocab_size", 20011)}) {
    const ModelConfig config = Parsed(json);
    const Layout layout(config);
    const auto gradients = [&](int64_t leaves, int64_t microbatches) {
      return FootprintOf(config, {}, updates, 0, {leaves, microbatches}).gradients / 4;
    };
    int64_t largest = 0, layer = 0;
    for (const LayoutUnit& unit : layout.units()) {
      largest = std::max(largest, unit.trained_elements());
      if (layout.entries()[unit.begin].layer == 0) layer = unit.trained_elements();
    }
    const bool tied = config.tie_word_embeddings;
    const int64_t all = layout.trained_elements(), rows = tied ? 64 * config.hidden_size : 0;
    const int64_t tables = gradients(1, 1) - all - rows;  // of the rotation
    EXPECT_GE(tables, 0);
    EXPECT_LT(tables, all / 50);
    EXPECT_EQ(gradients(1, 2), all + rows + tables);
    EXPECT_EQ(gradients(2, 1), 2 * all + rows + tables);
    EXPECT_EQ(gradients(8, 1), 2 * all + rows + largest + (tied ? layer : 0) + tables);
    EXPECT_EQ(gradients(8, 2), 3 * all + rows + tables);
  }
}

// An update that is counted, on one rank of a mesh.
struct CountedUpdate {
  int64_t peak = 0;
  PartBytes sent = {};
};
CountedUpdate Counted(const ModelConfig& config, const MeshSizes& sizes, const UpdatesConfig& updates,
                      int64_t longest, const UpdateSize& size) {
  const PolicyPlace place{.mesh = PlaceOf(sizes, 0)};
  RankMessages messages(place.mesh);
  messages.Begin("update");
  CountedRank rank(place, &messages);
  const std::unique_ptr<CausalLm> policy = rank.NewPolicy(config, /*trained=*/true);
  Optimizer optimizer(policy.get());
  EvenUpdate(config, updates, longest, size).Run(policy.get(), &optimizer);
  return {rank.backend().peak_bytes(), TensorBytes(messages, "update")};
}

// Long sequences go through the policy one by one and leave nothing but sums, and of others a pipeline has
// only so many on their way: the least update with its pipeline full takes what one of many takes, and bytes
// go by their number.
void ExpectTheLeastIsLike(const UpdateSize& many, int64_t layers, const MeshSizes& sizes,
                          const UpdatesConfig& updates) {
  constexpr int64_t kTokens = 1100;
  Json json = sizes.ep > 1 ? OddDeepseek() : Shared();
  json["num_hidden_layers"] = layers;
  const ModelConfig config = Parsed(json);
  const UpdateSize least = LeastLike(many, sizes, updates, kTokens);
  EXPECT_LT(least.leaves * least.microbatches, many.leaves * many.microbatches) << MeshText(sizes);
  const CountedUpdate of_many = Counted(config, sizes, updates, kTokens, many);
  EXPECT_EQ(Counted(config, sizes, updates, kTokens, least).peak, of_many.peak) << MeshText(sizes);
  EXPECT_EQ(MessagesOf(config, {.mesh = PlaceOf(sizes, 0)}, updates, kTokens, many), of_many.sent)
      << MeshText(sizes);
}

TEST(Footprint, OfFewLongSequencesIsThatOfMany) {
  UpdatesConfig updates;
  updates.long_sequence_tokens = 1;
  for (const MeshSizes& sizes :
       {MeshSizes{.dp_replicate = 1}, MeshSizes{.dp_replicate = 1, .dp_shard = 2, .tp = 2, .cp = 2},
        MeshSizes{.dp_replicate = 1, .pp = 2, .cp = 2}, MeshSizes{.dp_replicate = 2, .pp = 2},
        MeshSizes{.dp_replicate = 1, .pp = 2, .pp_chunks = 2}, MeshSizes{.dp_replicate = 1, .pp = 2, .ep = 2},
        MeshSizes{.dp_replicate = 2, .dp_shard = 2, .ep = 2, .cp = 2}})
    ExpectTheLeastIsLike({3, 7}, 4, sizes, updates);
}

// Of a pipeline with chunks the first group of microbatches is larger by those that are left over.
TEST(Footprint, OfAFullPipelineIsThatOfAnyMore) {
  const UpdatesConfig updates;
  for (const MeshSizes& sizes :
       {MeshSizes{.dp_replicate = 1, .pp = 4}, MeshSizes{.dp_replicate = 1, .dp_shard = 2, .pp = 2},
        MeshSizes{.dp_replicate = 1, .pp = 4, .pp_chunks = 2},
        MeshSizes{.dp_replicate = 1, .pp = 4, .pp_chunks = 3},
        MeshSizes{.dp_replicate = 1, .dp_shard = 2, .pp = 4, .pp_chunks = 2},
        MeshSizes{.dp_replicate = 1, .pp = 4, .pp_chunks = 2, .pp_schedule = PipelineKind::kZeroBubble}})
    for (const UpdateSize& many : {UpdateSize{1, 39}, UpdateSize{5, 27}, UpdateSize{6, 23}})
      ExpectTheLeastIsLike(many, 12, sizes, updates);
}

TEST(Cluster, IsMachinesTimesDevices) {
  const auto cluster = ParseCluster("64x8xH800");
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  EXPECT_EQ(cluster->ranks(), 512);
  EXPECT_STREQ(cluster->device.name, "h800");
  for (const char* text :
       {"", "8xh100", "0x8xh100", "1x99xh100", "axbxh100", "1x8xh100x2", "-1x8xh100", "1 x8xh100"})
    EXPECT_THAT(std::string(ParseCluster(text).status().message()), HasSubstr("is no MACHINESxDEVICESxNAME"))
        << text;
  EXPECT_THAT(std::string(ParseCluster("1x8xv100").status().message()),
              AllOf(HasSubstr("--cluster 1x8xv100: v100 is none of "), HasSubstr("h800")));
}

TEST(ClusterPlan, TellsMemoryMessagesAndTimeOfEachStage) {
  RecipeConfig recipe = *ReadRecipeFields("configs/tiny/short.yaml", {"mesh.tp=2"});
  recipe.device = "cuda";
  recipe.cost_per_gpu_hour = 1e9;
  const auto cost = [](const std::string& plan) {
    const size_t at = plan.find("an hour ");
    return at == plan.npos ? 0 : std::stod(plan.substr(at + 8));
  };
  const auto text = ClusterPlanText(recipe, *ParseCluster("1x8xh100"));
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(
      *text,
      AllOf(HasSubstr("1 x 8 h100: dp_replicate 4 tp 2\n"), HasSubstr("zero (rl)\n  memory    weights "),
            HasSubstr("a rank sends an update tp "), HasSubstr("  update    "), HasSubstr("  rollout   "),
            HasSubstr(" device hours, at 1e+09 an hour "), HasSubstr("Assumed: ")));
  EXPECT_THAT(*text, AllOf(Not(HasSubstr("publish")), Not(HasSubstr("Not counted"))));
  EXPECT_THAT(*ClusterPlanText(recipe, *ParseCluster("1x8xa100")),
              HasSubstr(" rewards. Not counted on a100: what LibTorch's ops take beside, "));
  recipe.rollout.mesh = RolloutMesh{{.ep = 2}};
  EXPECT_THAT(*ClusterPlanText(recipe, *ParseCluster("1x8xh100")),
              AllOf(HasSubstr("1 x 8 h100: dp_replicate 4 tp 2; rollout.mesh: dp_replicate 4 ep 2\n"),
                    HasSubstr(" decode together, and a pass sends ep "), HasSubstr("policy of rollout.mesh "),
                    HasSubstr("  publish   "), HasSubstr(" before a rollout: the first rank sends "),
                    HasSubstr(" of weights (links) to rollout.mesh\n")));
  recipe.rollout.mesh.reset();
  recipe.stages[0].pretrain.tokens_per_microbatch = int64_t{1} << 16;
  Cluster with_a_spare = *ParseCluster("1x8xh100");
  with_a_spare.device.memory_gib = 0.25;
  with_a_spare.spare_nodes = 1;
  const std::string twice = *ClusterPlanText(recipe, with_a_spare);
  EXPECT_THAT(
      twice,
      AllOf(HasSubstr("1 x 8 h100 and 1 to spare: dp_replicate 4 tp 2\n"),
            HasSubstr("DOES NOT FIT, most of it are activations; --search looks for a layout that does")));
  EXPECT_NEAR(cost(twice), 2 * cost(*text), 2);
  EXPECT_GT(cost(*text), 1000);
  recipe.mesh.tp = 3;
  EXPECT_THAT(std::string(ClusterPlanText(recipe, *ParseCluster("1x9xh100")).status().message()),
              HasSubstr("mesh.tp is 3, but it has to divide"));
}

TEST(Estimate, OfAnUpdatesProductsIsTheArithmeticByHand) {
  const RecipeConfig recipe = SmallRecipe("model");
  StageConfig stage = recipe.stages[1];
  stage.rl.prompts_per_step = 3;
  stage.rl.samples_per_prompt = 4;
  stage.rl.sampling.max_new_tokens = 1600;
  stage.rl.keep = TrainPass::Keep::kAll;
  // Two layers of q, k, v, o and an MLP, the head, and in each layer 3 heads that look at what is before a
  // token, in the mean.
  const auto pass_of = [](double tokens, double before) {
    const double weights = 2 * (12 * (12 + 4 + 4 + 12) + 3 * 12 * 20) + 37 * 12,
                 attention = 2 * 3 * (4 + 4) * before;
    return 2 * (weights + attention) * tokens / 4 / (0.6 * 66.9e12);
  };
  // Each group's prompt once, of 200 tokens, and its four completions of 800.
  const double tokens = 3 * (200 + 4 * 800),
               pass = pass_of(tokens, 3 * (200 * 100 + 4 * 800 * (200 + 400)) / tokens);
  const auto products = [&] {
    return EstimateOf(recipe, stage, Parsed(TinyLlama()), *ParseCluster("1x4xh100"), {.dp_replicate = 4})
        .products;
  };
  EXPECT_DOUBLE_EQ(products(), 4 * pass);  // forward, back twice as much, and the reference's
  stage.rl.keep = TrainPass::Keep::kInputs;
  EXPECT_DOUBLE_EQ(products(), 5 * pass);
  stage.rl.loss.kl_coef = 0;
  EXPECT_DOUBLE_EQ(products(), 4 * pass);
  stage.rl.tokens_per_shared_prompt = 0;
  EXPECT_DOUBLE_EQ(products(), 4 * pass_of(12 * (200 + 800), 500));
}

// Whose memory nobody knows.
TEST(ClusterPlan, OfProcessorsHasTheirPoolsAndTimeAndSaysNotWhatFits) {
  const RecipeConfig recipe = *ReadRecipeFields("configs/tiny/short.yaml", {"mesh.tp=2"});
  const auto text = ClusterPlanText(recipe, *ParseCluster("1x4xcpu"));
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, AllOf(HasSubstr("1 x 4 cpu: dp_replicate 2 tp 2\n"), HasSubstr("packed weights "),
                           HasSubstr(" (links)\n  update    "), HasSubstr("  rollout   "),
                           HasSubstr("of 0.118 f32 TFLOP/s"), Not(HasSubstr("of a device"))));
}

TEST(ClusterPlan, SearchesWithTheMeshThatSamples) {
  RecipeConfig recipe = *ReadRecipeFields("configs/tiny/short.yaml", {"rollout.mesh={tp: 2}"});
  recipe.device = "cuda";
  recipe.stages.resize(2);
  const Cluster cluster = *ParseCluster("1x4xh100");
  const auto found = SearchLayouts(recipe, cluster);
  ASSERT_TRUE(found.ok()) << found.status();
  int alike = 0;
  for (const LayoutProposal& layout : found->fit) {
    const bool apart = std::any_of(layout.pools.begin(), layout.pools.end(),
                                   [](const auto& pool) { return pool.first == "policy of rollout.mesh"; });
    EXPECT_NE(apart, MeshText(layout.mesh) == " dp_replicate 2 tp 2") << MeshText(layout.mesh);
    alike += apart ? 0 : 1;
  }
  EXPECT_EQ(alike, 1);
  EXPECT_THAT(*ClusterSearchText(recipe, cluster),
              HasSubstr("1 x 4 h100; rollout.mesh: dp_replicate 2 tp 2: "));
}

// A policy that decodes is shared out by dp_shard and cp alike.
TEST(ClusterPlan, OfLayoutsThatTakeTheSameAlwaysNamesTheSame) {
  const TestFolder folder;
  Json json = TinyLlama();
  json.update(Json::parse(R"({"vocab_size": 1000, "hidden_size": 96, "num_hidden_layers": 3})"));
  ASSERT_TRUE(WriteFileAtomic(folder / "config.json", json.dump()).ok());
  RecipeConfig recipe = SmallRecipe(folder / "", {"evaluation.sampling={cache_mib: 1, max_batch: 1}"});
  recipe.stages = {recipe.stages.back()};
  recipe.stages[0].from = folder / "";
  recipe.device = "cuda";
  Cluster cluster = *ParseCluster("4x8xh100");
  const auto all = SearchLayouts(recipe, cluster);
  ASSERT_TRUE(all.ok()) << all.status();
  std::vector<std::pair<int64_t, std::string>> sums;
  for (const LayoutProposal& layout : all->fit) sums.emplace_back(SumOf(layout.pools), MeshText(layout.mesh));
  std::sort(sums.begin(), sums.end());
  ASSERT_EQ(sums[0].first, sums[1].first);
  cluster.device.memory_gib = 0;
  const auto none = SearchLayouts(recipe, cluster);
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_EQ(std::pair(SumOf(none->nearest.pools), MeshText(none->nearest.mesh)), sums[0]);
}

TEST(ClusterPlan, SearchesLayoutsThatFit) {
  RecipeConfig recipe = *ReadRecipeFields("configs/tiny/short.yaml", {});
  recipe.device = "cuda";
  Cluster cluster = *ParseCluster("1x8xh100");
  const auto found = SearchLayouts(recipe, cluster);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(static_cast<size_t>(found->layouts), found->fit.size());
  for (size_t i = 0; i < found->fit.size(); ++i) {
    const LayoutProposal& layout = found->fit[i];
    EXPECT_EQ(RanksOf(layout.mesh), 8);
    EXPECT_LE(SumOf(layout.pools), cluster.device.memory_bytes());
    if (i > 0) {
      EXPECT_LE(found->fit[i - 1].seconds, layout.seconds);
    }
  }
  EXPECT_THAT(*ClusterSearchText(recipe, cluster),
              AllOf(HasSubstr(" layouts fit; by the time "), HasSubstr("(")));
  // Of a device that holds what half of them take: the same ones, though most of the others are not counted.
  std::vector<int64_t> sums;
  for (const LayoutProposal& layout : found->fit) sums.push_back(SumOf(layout.pools));
  std::sort(sums.begin(), sums.end());
  Cluster half = cluster;
  const int64_t room = sums[sums.size() / 2] + (int64_t{1} << 10);
  half.device.memory_gib = static_cast<double>(room) / (int64_t{1} << 30);
  const auto some = SearchLayouts(recipe, half);
  ASSERT_TRUE(some.ok()) << some.status();
  std::vector<std::string> expected, got;
  for (const LayoutProposal& layout : found->fit)
    if (SumOf(layout.pools) <= half.device.memory_bytes()) expected.push_back(MeshText(layout.mesh));
  for (const LayoutProposal& layout : some->fit) got.push_back(MeshText(layout.mesh));
  EXPECT_GE(expected.size(), sums.size() / 2);
  EXPECT_EQ(got, expected);
  // A device that holds a little less than the least of them takes.
  int64_t least = std::numeric_limits<int64_t>::max();
  for (const LayoutProposal& layout : found->fit) least = std::min(least, SumOf(layout.pools));
  cluster.device.memory_gib = static_cast<double>(least - (int64_t{1} << 20)) / (int64_t{1} << 30);
  const auto none = SearchLayouts(recipe, cluster);
  ASSERT_TRUE(none.ok() && none->fit.empty());
  EXPECT_EQ(SumOf(none->nearest.pools), least);
  EXPECT_THAT(*ClusterSearchText(recipe, cluster),
              AllOf(HasSubstr("none of "), HasSubstr(", 1 MiB more than a device has: most of it are ")));
}

}  // namespace
}  // namespace temper
