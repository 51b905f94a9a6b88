// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/plan.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/files/hugging_face.h"
#include "model/kv_cache.h"
#include "rollout/engine.h"
#include "tests/model/odd_models.h"
#include "tests/trainer/small_recipe.h"
#include "trainer/plan/counted.h"
#include "trainer/plan/footprint.h"
#include "trainer/plan/workload.h"
#include "trainer/recipe.h"
#include "trainer/rl_metrics.h"

namespace temper {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

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

TEST(CachePool, IsWhatTheEngineAllocates) {
  Policy policy(OddDeepseek());
  SamplingConfig sampling;
  for (int64_t mib : {1, 3, 1024}) {
    sampling.cache_mib = mib;
    sampling.max_batch = 8;
    const int64_t pool = CachePool(policy.model.config(), sampling);
    EXPECT_EQ(Engine(&policy.model, EngineOptionsOf(sampling)).cache_bytes(), pool);
    EXPECT_LE(pool, mib << 20);
  }
}

TEST(CachePool, IsNoMoreThanTheModelsPositionsNeed) {
  const absl::StatusOr<ModelConfig> model = ReadPolicyConfig("configs/tiny/base");
  ASSERT_TRUE(model.ok()) << model.status();
  SamplingConfig sampling;
  sampling.max_batch = 4;
  EXPECT_EQ(CachePool(*model, sampling), (4 + 8) * (512 / 64 + 1) * KvCache::BytesPerPage(*model));
}

TEST(CachePositions, AreTwiceAsManyOfABf16Cache) {
  absl::StatusOr<ModelConfig> model = ReadPolicyConfig("configs/qwen2.5/0.5b_random");
  ASSERT_TRUE(model.ok()) << model.status();
  SamplingConfig sampling;
  sampling.cache_mib = 48;
  const int64_t positions = CachePositions(*model, sampling);
  model->cache = kernels::Type::kBf16;
  EXPECT_EQ(CachePositions(*model, sampling), 2 * positions);
}

TEST(CachePositions, AreThoseOfWholePages) {
  const absl::StatusOr<ModelConfig> model = ReadPolicyConfig("configs/qwen2.5/0.5b_random");
  ASSERT_TRUE(model.ok()) << model.status();
  SamplingConfig sampling;
  sampling.cache_mib = 1;
  EXPECT_EQ(CachePositions(*model, sampling), 0) << "a page is of 1.5 MiB";
  sampling.cache_mib = 4;
  EXPECT_EQ(CachePositions(*model, sampling), 128);
}

class Memory : public ::testing::Test {
 protected:
  Memory() { WriteSmallModel(folder_ / "model"); }
  absl::Status Check(const std::vector<std::string>& overrides, int64_t bytes, int ranks = 1,
                     const std::set<std::string>& finished = {}) {
    return CheckMemory(SmallRecipe(folder_ / "model", overrides), ranks, ranks, {{bytes, "ulimit -v"}},
                       [&](const std::string& stage) { return finished.count(stage) > 0; });
  }
  TestFolder folder_;
};

TEST_F(Memory, ThatIsEnoughIsNoError) { EXPECT_TRUE(Check({}, int64_t{1} << 40).ok()); }

TEST_F(Memory, ThatIsTooLittleIsToldWithTheLargestPoolAndWhatToSet) {
  const auto told = [&](const std::vector<std::string>& overrides, int ranks = 1) {
    const absl::Status status = Check(overrides, 1000, ranks);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    return std::string(status.message());
  };
  const std::string activations = told({"stages.base.pretrain.tokens_per_microbatch=100000"});
  EXPECT_THAT(activations, HasSubstr("stage base: takes "));
  EXPECT_THAT(activations, HasSubstr(", and ulimit -v leaves 0.977 KiB: most of it are activations, "));
  EXPECT_THAT(activations, HasSubstr("set recompute: mlp or true, or fewer tokens_per_microbatch (rl: and "
                                     "tokens_per_shared_prompt); --force"));
  EXPECT_THAT(told({"stages.base.pretrain.tokens_per_microbatch=1",
                    "stages.base.pretrain.gradient_leaves=1024", "evaluation.problems=0"}),
              HasSubstr("most of it are gradients, "));
  EXPECT_THAT(told({}, 4), HasSubstr(" on each of 4 ranks here, and ulimit -v leaves 0.977 KiB for each: "));
}

TEST_F(Memory, OfStagesThatAreFinishedIsNotAsked) {
  const std::vector<std::string> large = {"stages.base.pretrain.tokens_per_microbatch=1000000"};
  const int64_t bytes = int64_t{1} << 30;
  EXPECT_THAT(std::string(Check(large, bytes).message()), HasSubstr("stage base: takes "));
  EXPECT_TRUE(Check(large, bytes, 1, {"base"}).ok()) << Check(large, bytes, 1, {"base"});
}

TEST_F(Memory, HasASecondCacheWhereAStageIsMeasuredAsItTrains) {
  const auto plan = [&](const std::string& every, size_t stages) {
    RecipeConfig recipe = SmallRecipe(
        folder_ / "model", {"evaluation.during_every=" + every, "evaluation.sampling.cache_mib=1"});
    recipe.stages.resize(stages);
    return PlanText(recipe, 1).value();
  };
  EXPECT_THAT(plan("2", 2), HasSubstr(", cache of evaluation 1 MiB, "));
  EXPECT_THAT(plan("0", 2), Not(HasSubstr("cache of evaluation")));
  EXPECT_THAT(plan("2", 1), Not(HasSubstr("cache of evaluation"))) << "pretrain is not";
}

int64_t BytesIn(const Pools& pools, const std::string& name) {
  for (const auto& [pool, bytes] : pools)
    if (pool == name) return bytes;
  return 0;
}

// Eight ranks that train a pipeline and sample with ten experts between them: the fourth has two of these,
// and holds more microbatches than the eighth, which has two likewise.
TEST_F(Memory, IsOfTheRankThatTakesMostOfBothMeshes) {
  Json json = TinyDeepseek();
  json.update(
      Json::parse(R"({"vocab_size": 8, "hidden_size": 24, "num_hidden_layers": 8, "n_routed_experts": 10,
      "n_group": 5, "topk_group": 2, "moe_intermediate_size": 2048, "num_nextn_predict_layers": 0})"));
  const ModelConfig model = Parsed(json);
  RecipeConfig recipe =
      SmallRecipe(folder_ / "model",
                  {"mesh.pp=8", "rollout.mesh={ep: 8}", "rl.recompute=true", "rl.tokens_per_microbatch=512",
                   "evaluation.problems=0", "evaluation.during_every=0"});
  const StageConfig& zero = recipe.stages[1];
  const Pools pools = PoolsOfStage(recipe, zero, model, 8).value();
  const PolicyPlace fourth{.mesh = PlaceOf({.dp_replicate = 1, .pp = 8}, 3)},
      samples{.mesh = PlaceOf({.dp_replicate = 1, .ep = 8}, 3)};
  const PolicyFootprint second = FootprintOf(model, samples);
  EXPECT_EQ(BytesIn(pools, "policy of rollout.mesh"), second.weights + second.packed);
  EXPECT_EQ(BytesIn(pools, "activations"),
            BytesIn(UpdatePools(model, WorkloadOf(zero), fourth), "activations"));
}

TEST_F(Memory, HasAPolicyOfTheOtherMeshWhereItSamplesWhileItTrains) {
  const ModelConfig model = ReadPolicyConfig(folder_ / "model").value();
  const auto second = [&](size_t stage, const std::string& every) {
    RecipeConfig recipe = SmallRecipe(
        folder_ / "model", {"mesh.pp=2", "rollout.mesh={ep: 2}", "evaluation.during_every=" + every});
    return BytesIn(PoolsOfStage(recipe, recipe.stages[stage], model, 2).value(), "policy of rollout.mesh");
  };
  EXPECT_GT(second(1, "0"), 0) << "rl";
  EXPECT_EQ(second(0, "2"), 0) << "pretrain";
}

// A rank that has an eighth of what it trains, and all of what is measured, has both when its training is
// over.
TEST_F(Memory, HasBothPoliciesAsTheWeightsGoToTheMeshThatMeasures) {
  Json json = TinyLlama();
  json.update(Json::parse(
      R"({"hidden_size": 768, "num_hidden_layers": 40, "intermediate_size": 4096, "max_position_embeddings": 64})"));
  const ModelConfig model = Parsed(json);
  RecipeConfig recipe = SmallRecipe(
      folder_ / "model",
      {"mesh.dp_shard=8", "rollout.mesh={dp_replicate: 8}", "stages.base.pretrain.gradient_leaves=8",
       "stages.base.pretrain.tokens_per_microbatch=16", "stages.base.pretrain.recompute=true",
       "evaluation.sampling={cache_mib: 1, max_batch: 4}"});
  recipe.device = "cuda";
  const Pools pools = PoolsOfStage(recipe, recipe.stages[0], model, 8).value();
  const Layout all(model), share(model, PlaceOf({.dp_replicate = 1, .dp_shard = 8}, 7));
  EXPECT_EQ(BytesIn(pools, "policy of rollout.mesh"), 4 * all.elements());
  EXPECT_GE(BytesIn(pools, "weights"), 4 * share.elements());
  EXPECT_GT(BytesIn(pools, "gathered weights"), 0);
  EXPECT_EQ(pools.size(), 3) << "no optimizer, no gradients";
}

TEST_F(Memory, OfAGpuIsAskedThereAndWhatStaysOnTheHostHere) {
  RecipeConfig recipe =
      SmallRecipe(folder_ / "model", {"stages.base.pretrain.checkpoint_in_background=true"});
  recipe.device = "cuda";
  const Pools pools =
      PoolsOfStage(recipe, recipe.stages[0], ReadPolicyConfig(folder_ / "model").value(), 1).value();
  const int64_t copy = BytesIn(pools, "host copy of a checkpoint"), plenty = int64_t{1} << 40;
  EXPECT_GT(copy, 0);
  EXPECT_GT(SumOf(pools), copy);
  const auto told = [&](int64_t host, int64_t device) {
    const FreeForRank free{.host = {host, "ulimit -v"}, .device = {device, "GPU 0 (NVIDIA H100)"}};
    return std::string(CheckMemory(recipe, 1, 1, free, [](const std::string&) { return false; }).message());
  };
  EXPECT_EQ(told(plenty, plenty), "");
  EXPECT_THAT(told(copy - 1, plenty), AllOf(HasSubstr(", and ulimit -v leaves "),
                                            HasSubstr("set checkpoint_in_background: false; --force")));
  EXPECT_THAT(told(plenty, SumOf(pools) - 1), AllOf(HasSubstr("stage base: takes " + BytesText(SumOf(pools)) +
                                                              ", and GPU 0 (NVIDIA H100) leaves "),
                                                    Not(HasSubstr("mesh."))));
  recipe.device = "cpu";
  EXPECT_EQ(told(plenty, 0), "");
}

TEST_F(Memory, OfAGpusKernelsIsOneForUpdatesAndSamplingOfOnePolicy) {
  const ModelConfig model = ReadPolicyConfig(folder_ / "model").value();
  const auto pools = [&](std::vector<std::string> set) {
    set.push_back("mesh.dp_shard=2");
    RecipeConfig recipe = SmallRecipe(folder_ / "model", set);
    recipe.device = "cuda";
    recipe.stages[1].rl.sampling.max_batch = 4096;  // so that sampling takes more of some memory than updates
    return PoolsOfStage(recipe, recipe.stages[1], model, 2).value();
  };
  const char* const updates = "scratch of kernels";
  const char* const samples = "scratch of kernels that sample";
  const Pools apart = pools({"rollout.mesh={dp_replicate: 2}"}), one = pools({});
  EXPECT_GT(BytesIn(apart, samples), 0);
  EXPECT_EQ(BytesIn(one, samples), 0);
  EXPECT_GT(BytesIn(one, updates), BytesIn(apart, updates));
  EXPECT_GE(BytesIn(one, updates), BytesIn(apart, samples));
  EXPECT_LT(BytesIn(one, updates), BytesIn(apart, updates) + BytesIn(apart, samples));
}

ModelConfig WithMany(const Json& json) {
  Json many = json;
  many["vocab_size"] = 20011;
  return Parsed(many);
}

// From the third leaf on one lies whole if it has a second microbatch, as one of documents may, and one of
// groups that may be longer than a microbatch.
TEST(UpdatePools, AreOfLeavesThatTurnOutLonger) {
  const ModelConfig config = WithMany(OddLlama());
  StageConfig sft{.kind = StageKind::kSft};
  sft.sft.tokens_per_microbatch = 64;
  const auto taken = [&](const UpdatesConfig& updates, const Workload& work, int64_t microbatches) {
    return FootprintOf(config, {}, updates, work.longest, {8, microbatches}).gradients;
  };
  const Workload documents = WorkloadOf(sft);
  EXPECT_EQ(BytesIn(UpdatePools(config, documents, {}), "gradients"), taken(sft.sft, documents, 3));
  StageConfig rl{.kind = StageKind::kRl};
  rl.rl.prompts_per_step = 16;
  rl.rl.samples_per_prompt = 2;
  rl.rl.sampling.max_new_tokens = 20;
  const Workload groups = WorkloadOf(rl);
  EXPECT_GE(groups.leaf_tokens, 2 * 2 * groups.longest);
  for (const bool fits : {true, false}) {
    rl.rl.tokens_per_microbatch = groups.leaf_tokens - (fits ? 0 : 1);
    EXPECT_EQ(BytesIn(UpdatePools(config, WorkloadOf(rl), {}), "gradients"),
              taken(rl.rl, groups, fits ? 1 : 3))
        << fits;
  }
}

// Where ranks share weights out the gradients of all of them are there, whole, until the last microbatch of
// a leaf. One document, and a long sequence, is one microbatch.
TEST(UpdatePools, AreOfDocumentsThatMakeASecondMicrobatch) {
  const ModelConfig config = WithMany(OddLlama());
  const PolicyPlace place{.mesh = PlaceOf({.dp_replicate = 1, .dp_shard = 2}, 0)};
  const auto planned = [&](int64_t documents, int64_t long_tokens) {
    StageConfig sft{.kind = StageKind::kSft};
    sft.sft.tokens_per_microbatch = 64;
    sft.sft.gradient_leaves = 8;
    sft.sft.prompts_per_step = documents;
    sft.sft.long_sequence_tokens = long_tokens;
    return BytesIn(UpdatePools(config, WorkloadOf(sft), place), "gradients");
  };
  const int64_t all_layers = 4 * Layout(config).trained_elements(), one_each = planned(8, 0);
  EXPECT_LT(one_each, 2 * all_layers);
  EXPECT_GE(planned(9, 0), one_each + all_layers / 4);
  EXPECT_EQ(planned(9, 1), one_each);
}

// A leaf of four microbatches in which no token comes twice, and its memory goes back.
TEST(UpdatePools, AreOfAllTokensOfATiedEmbedding) {
  const ModelConfig config = WithMany(OddQwen2());
  UpdatesConfig updates;
  updates.tokens_per_microbatch = 64;
  updates.gradient_leaves = 1;
  const auto planned = [&](int64_t leaf_tokens) {
    const Workload work{.updates = &updates, .tokens = 64, .leaf_tokens = leaf_tokens};
    return BytesIn(UpdatePools(config, work, {}), "gradients");
  };
  std::vector<TrainSequence> sequences(4);
  Leaves leaves(1);
  for (int32_t i = 0; i < 4; ++i) {
    for (int32_t id = 0; id <= 64; ++id) sequences[i].tokens.push_back(64 * i + id);
    sequences[i].CountFrom(1);
    leaves[0].push_back(&sequences[i]);
  }
  CountedRank rank({});
  const std::unique_ptr<CausalLm> policy = rank.NewPolicy(config, /*trained=*/true);
  policy->weights().Pack();
  Optimizer optimizer(policy.get());
  Updater updater(policy.get(), &optimizer, {64, 1}, policy->mesh());
  const int64_t before = rank.backend().bytes();
  for (int update = 0; update < 2; ++update) {
    updater.Update(leaves, 1, OptimizerConfig(), 0,
                   [](const TrainSequence&, absl::Span<const float>, absl::Span<float>, LossSums*) {});
    const int64_t taken = rank.backend().peak_bytes() - before - updater.pipeline().workspace_bytes();
    EXPECT_LE(taken, planned(256));
    EXPECT_GE(taken, planned(128));
    const int64_t all = 4 * Layout(config).trained_elements(), row = 4 * config.hidden_size,
                  with = rank.backend().bytes();
    updater.FreeGradients();
    EXPECT_EQ(with - rank.backend().bytes(), all + 256 * row);
  }
  EXPECT_EQ(planned(0) - planned(64), (20011 - 64) * 4 * config.hidden_size);
}

// One that is read for a pass has the memory of gradients, which was given back, and what more it needs.
TEST(UpdatePools, OfAReferenceThatDoesNotStayAreBesideNoGradient) {
  const ModelConfig config = WithMany(OddLlama());
  UpdatesConfig updates;
  updates.tokens_per_microbatch = 64;
  for (const int64_t leaves : {1, 2}) {
    updates.gradient_leaves = leaves;
    Workload work{.updates = &updates, .tokens = leaves * 64, .reference = true, .reference_stays = true};
    const Pools stays = UpdatePools(config, work, {});
    work.reference_stays = false;
    const Pools goes = UpdatePools(config, work, {});
    const int64_t reference = BytesIn(stays, "reference"), gradients = BytesIn(goes, "gradients");
    EXPECT_EQ(reference > gradients, leaves == 1);
    EXPECT_EQ(BytesIn(goes, "reference"), leaves == 1 ? reference - gradients : 0);

    CountedRank rank({});
    const std::unique_ptr<CausalLm> policy = rank.NewPolicy(config, /*trained=*/true);
    policy->weights().Pack();
    Optimizer optimizer(policy.get());
    Updater updater(policy.get(), &optimizer, {64, leaves}, policy->mesh());
    const int64_t before = rank.backend().bytes();
    int64_t taken = 0;
    std::vector<TrainSequence> sequences(leaves);
    Leaves dealt(leaves);
    for (int64_t i = 0; i < leaves; ++i) {
      sequences[i].tokens.resize(65);
      sequences[i].CountFrom(1);
      dealt[i].push_back(&sequences[i]);
    }
    for (int update = 0; update < 2; ++update) {
      updater.FreeGradients();
      const std::unique_ptr<CausalLm> read = rank.NewPolicy(config, /*trained=*/false);
      read->weights().Pack();
      taken = rank.backend().bytes() - before - updater.pipeline().workspace_bytes();
      EXPECT_NEAR(static_cast<double>(taken) / static_cast<double>(reference), 1, 0.02) << update;
      if (update > 0) break;
      updater.Update(dealt, 1, OptimizerConfig(), 0,
                     [](const TrainSequence&, absl::Span<const float>, absl::Span<float>, LossSums*) {});
    }
  }
}

// A device makes logits anew on the way back.
TEST(UpdatePools, OfADeviceHoldNoLogits) {
  const ModelConfig config = WithMany(OddLlama());
  UpdatesConfig updates;
  updates.tokens_per_microbatch = 64;
  const auto activations = [&](bool on_gpu) {
    return FootprintOf(config, {.mesh = {}, .on_gpu = on_gpu}, updates, 0).activations;
  };
  EXPECT_GE(activations(false) - activations(true), 64 * 20011 * 4);
}

// Where it is not asked for it is made where it has room, and a run without that room still begins.
TEST_F(Memory, OfACheckpointsCopyIsAPoolOfItsOwn) {
  const auto set = [](const char* background) {
    return std::vector<std::string>{
        absl::StrCat("stages.base.pretrain.checkpoint_in_background=", background), "evaluation.problems=0"};
  };
  const auto sum = [&](const char* background) {
    RecipeConfig recipe = SmallRecipe(folder_ / "model", set(background));
    recipe.stages.resize(1);
    const ModelConfig model = ReadPolicyConfig(folder_ / "model").value();
    return SumOf(PoolsOfStage(recipe, recipe.stages[0], model, 1).value());
  };
  const int64_t without = sum("false");
  EXPECT_EQ(sum("auto"), without);
  const ModelConfig model = ReadPolicyConfig(folder_ / "model").value();
  EXPECT_EQ(sum("true"), without + 4 * Layout(model).elements() + 8 * Layout(model).trained_elements());
  const auto plan = [&](const char* background) {
    RecipeConfig recipe = SmallRecipe(folder_ / "model", set(background));
    recipe.stages.resize(1);
    return PlanText(recipe, 1).value();
  };
  EXPECT_THAT(plan("auto"), HasSubstr("\n    and where twice as much is free: copy of a checkpoint 304 KiB"));
  EXPECT_THAT(plan("true"), HasSubstr(", copy of a checkpoint 304 KiB, sum "));
  EXPECT_THAT(plan("false"), Not(HasSubstr("copy of a checkpoint")));
  const std::set<std::string> others = {"zero", "cold_start", "collect", "sft", "reason", "final"};
  EXPECT_TRUE(Check(set("auto"), without, 1, others).ok()) << Check(set("auto"), without, 1, others);
  EXPECT_THAT(std::string(Check(set("true"), without, 1, others).message()), HasSubstr("stage base: takes "));
}

TEST_F(Memory, IsCheckedForTheEvaluationAfterAStageToo) {
  const std::vector<std::string> overrides = {
      "evaluation.during_every=0", "evaluation.sampling.max_batch=4096", "evaluation.sampling.cache_mib=64"};
  const absl::Status status = Check(overrides, int64_t{48} << 20);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(
      std::string(status.message()),
      HasSubstr("most of it are cache of evaluation, 64 MiB: set less evaluation.sampling.cache_mib or "
                "max_new_tokens"));
}

TEST(Workload, HasAPromptOnceForTheSamplesThatShareIt) {
  StageConfig stage;
  stage.kind = StageKind::kRl;
  stage.rl.prompts_per_step = 4;
  stage.rl.samples_per_prompt = 8;
  stage.rl.sampling.max_new_tokens = 128;
  const auto tokens = [&](int64_t together) {
    stage.rl.tokens_per_shared_prompt = together;
    return WorkloadOf(stage).tokens;
  };
  EXPECT_EQ(tokens(4096), 4 * (kExpectedPrompt + 8 * 64));
  EXPECT_EQ(tokens(kExpectedPrompt + 3 * 64), 4 * (3 * kExpectedPrompt + 8 * 64));
  EXPECT_EQ(tokens(0), 4 * 8 * (kExpectedPrompt + 64));
  EXPECT_EQ(WorkloadOf(stage).context, (kExpectedPrompt + 64) / 2.0);
  EXPECT_EQ(MostRows(stage.rl, 100), 4096);
  stage.rl.tokens_per_shared_prompt = 5000;
  EXPECT_EQ(MostRows(stage.rl, 100), 5000);
}

}  // namespace
}  // namespace temper
