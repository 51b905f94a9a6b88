// SPDX-License-Identifier: Apache-2.0
// What the plan says that a stage takes, beside what the system counts while an update of it runs.
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/threads.h"
#include "gtest/gtest.h"
#include "tests/core/test_folder.h"
#include "tests/model/odd_models.h"
#include "tests/model/slices.h"
#include "tests/trainer/counted_cpu.h"
#include "trainer/plan/counted.h"
#include "trainer/plan/plan.h"
#include "trainer/rl_metrics.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/update/step.h"

namespace temper {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kOwnMemory = false;  // a sanitizer keeps copies and what was freed
#else
constexpr bool kOwnMemory = true;
#endif

// Bytes that are this process's alone and in memory.
int64_t Resident() {
  std::ifstream statm("/proc/self/statm");
  int64_t size = 0, resident = 0, shared = 0;
  statm >> size >> resident >> shared;
  return (resident - shared) * sysconf(_SC_PAGESIZE);
}

// The most that Resident was in its lifetime, looked at every half millisecond.
class Peak {
 public:
  Peak() : thread_([this] { Watch(); }) {}
  ~Peak() {
    done_ = true;
    thread_.join();
  }
  int64_t bytes() const { return most_; }

 private:
  void Watch() {
    while (!done_) {
      most_ = std::max<int64_t>(most_, Resident());
      std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
  }
  std::atomic<bool> done_{false};
  std::atomic<int64_t> most_{0};
  std::thread thread_;
};

// 27 million weights: large beside what a test program takes for itself.
Json Large() {
  Json json = TinyDeepseek();
  json.update(Json::parse(R"({"vocab_size": 4096, "hidden_size": 512, "num_hidden_layers": 4,
    "intermediate_size": 1408, "max_position_embeddings": 4096, "num_attention_heads": 8,
    "num_key_value_heads": 8, "q_lora_rank": 192, "kv_lora_rank": 128, "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16, "v_head_dim": 32, "n_routed_experts": 8, "n_shared_experts": 1,
    "num_experts_per_tok": 2, "moe_intermediate_size": 352, "n_group": 2, "topk_group": 1,
    "first_k_dense_replace": 1, "num_nextn_predict_layers": 0})"));
  return json;
}

// Bytes that an update of a new policy took at most, two full microbatches, one a leaf.
int64_t TakenBy(const Json& json, const UpdatesConfig& updates) {
  std::vector<TrainSequence> sequences(4);
  Leaves leaves(updates.gradient_leaves);
  LossDenominators denominators;
  for (size_t i = 0; i < sequences.size(); ++i) {
    sequences[i].tokens = RandomTokens(Parsed(json).vocab_size, 257, i);
    sequences[i].CountFrom(1);
    denominators.tokens += static_cast<double>(sequences[i].counted());
    denominators.sequences += 1;
    leaves[i / 2].push_back(&sequences[i]);
  }
  malloc_trim(0);
  const int64_t before = Resident();
  const Peak peak;
  Policy policy(json);
  Optimizer optimizer(&policy.model);
  Updater updater(&policy.model, &optimizer,
                  {updates.tokens_per_microbatch, updates.gradient_leaves, updates.keep}, Mesh::Single());
  updater.Update(
      leaves, 1.0f, OptimizerConfig(), 1e-5,
      [&](const TrainSequence& sequence, absl::Span<const float> logprobs, absl::Span<float> dlogprobs,
          LossSums* sums) { CrossEntropyLoss(denominators, sequence, logprobs, dlogprobs, sums); });
  return peak.bytes() - before;
}

void ExpectThePlan(TrainPass::Keep keep) {
  if (!kOwnMemory) GTEST_SKIP() << "a sanitizer's memory is not the program's";
  UpdatesConfig updates;
  updates.tokens_per_microbatch = 512;
  updates.gradient_leaves = 2;
  updates.keep = keep;
  TakenBy(Large(), updates);  // what threads and libraries take once is not in the plan
  const double taken = static_cast<double>(TakenBy(Large(), updates));
  const Workload work{.updates = &updates, .tokens = 2 * 512};
  const Pools planned_pools = UpdatePools(Parsed(Large()), work, {});
  const auto planned = static_cast<double>(SumOf(planned_pools));
  std::string pools;
  for (const auto& [name, bytes] : planned_pools) absl::StrAppend(&pools, name, " ", bytes >> 20, " MiB\n");
  EXPECT_NEAR(planned / taken, 1, 0.05) << planned << " planned, " << taken << " taken; " << pools;
}

// An update with numbers, on ranks that send each other messages.
TEST(PlanMemory, OfARankOfAMeshIsWhatItAllocates) {
  const ModelConfig config = Parsed(Large());
  UpdatesConfig updates;
  updates.tokens_per_microbatch = 64;
  updates.gradient_leaves = 2;
  const Workload work{.updates = &updates, .tokens = 2 * 64, .leaf_tokens = 64};
  const Parameters whole = RandomParameters(config);
  for (const MeshSizes& sizes :
       {MeshSizes{.dp_replicate = 2}, MeshSizes{.dp_replicate = 1, .dp_shard = 2},
        MeshSizes{.dp_replicate = 1, .pp = 2}, MeshSizes{.dp_replicate = 1, .tp = 2},
        MeshSizes{.dp_replicate = 1, .ep = 2}, MeshSizes{.dp_replicate = 1, .cp = 2}}) {
    ThreadWorld(static_cast<int>(RanksOf(sizes))).Run([&](Communicator& world) {
      const Mesh mesh = Mesh::Create(sizes, world).value();
      ThreadPool pool(1);
      CountedCpu backend(&pool);
      CausalLm policy(config, Slice(whole, Layout(config, mesh.place())), &backend, /*rounded=*/false, mesh);
      Optimizer optimizer(&policy);
      const UpdateMemory memory =
          EvenUpdate(config, updates, work.longest, work.SizeOn(sizes)).Run(&policy, &optimizer);
      const auto taken = static_cast<double>(backend.peak_bytes() - memory.workspaces + memory.activations);
      Pools pools = UpdatePools(config, work, {.mesh = mesh.place()});
      std::erase_if(pools, [](const auto& pool) { return pool.first == "weights"; });  // there before
      const auto planned = static_cast<double>(SumOf(pools));
      EXPECT_NEAR(planned / taken, 1, 0.1) << MeshText(sizes) << ": " << planned << " planned, " << taken;
    });
  }
}

// They are more than a microbatch would have, and each has a block of keys more.
TEST(PlanMemory, OfSamplesThatShareAPromptIsNoLessThanTheyTake) {
  const ModelConfig config = Parsed(Large());
  UpdatesConfig updates;
  updates.tokens_per_microbatch = 64;
  updates.tokens_per_shared_prompt = 250;
  updates.gradient_leaves = 1;
  std::vector<TrainSequence> sequences(4);
  Leaves leaves(1);
  for (size_t i = 0; i < sequences.size(); ++i) {
    sequences[i].tokens = RandomTokens(config.vocab_size, 70, 1);
    const std::vector<int32_t> sampled = RandomTokens(config.vocab_size, 45, 2 + i);
    sequences[i].tokens.insert(sequences[i].tokens.end(), sampled.begin(), sampled.end());
    sequences[i].CountFrom(70);
    sequences[i].group = 0;
    sequences[i].prompt_tokens = 70;
    leaves[0].push_back(&sequences[i]);
  }
  ThreadPool pool(1);
  CountedCpu backend(&pool);
  CausalLm policy(config, RandomParameters(config), &backend);
  Optimizer optimizer(&policy);
  Updater updater(&policy, &optimizer,
                  {.tokens_per_microbatch = updates.tokens_per_microbatch,
                   .gradient_leaves = 1,
                   .tokens_per_shared_prompt = updates.tokens_per_shared_prompt},
                  Mesh::Single());
  const StepResult result =
      updater.Update(leaves, 1, OptimizerConfig(), 0,
                     [](const TrainSequence&, absl::Span<const float>, absl::Span<float>, LossSums*) {});
  EXPECT_EQ(result.local_tokens, 69 + 4 * 45);
  EXPECT_EQ(result.microbatches, 1);
  const int64_t taken =
      backend.peak_bytes() - updater.pipeline().workspace_bytes() + updater.pipeline().bytes();
  Pools pools = UpdatePools(config, {.updates = &updates, .tokens = 250, .single = true}, {});
  std::erase_if(pools, [](const auto& each) { return each.first == "weights"; });  // there before
  EXPECT_GE(SumOf(pools), taken);
  EXPECT_LT(static_cast<double>(SumOf(pools)), 1.1 * static_cast<double>(taken));
}

TEST(PlanMemory, OfACheckpointsCopyIsWhatTheSystemCounts) {
  if (!kOwnMemory) GTEST_SKIP() << "a sanitizer's memory is not the program's";
  Policy policy(Large());
  Optimizer optimizer(&policy.model);
  const TestFolder folder;
  malloc_trim(0);
  const int64_t before = Resident();
  const Peak peak;
  ASSERT_TRUE(BackgroundCheckpoint::Begin(folder / "checkpoints", {policy.model, "", optimizer, {}}, {},
                                          Mesh::Single().world())
                  .ok());
  const auto taken = static_cast<double>(peak.bytes() - before);
  const auto planned = static_cast<double>(BytesOfCopy(policy.model, 0));
  EXPECT_GT(planned, 250e6);
  EXPECT_NEAR(planned / taken, 1, 0.1) << planned << " planned, " << taken << " taken";
}

// The module's pass over prompts takes more than the policy's own. Where prompts are short a pass takes
// several.
TEST(PlanMemory, OfSamplesIsWhatTheirPassesAndThoseOfAnMtpModuleTake) {
  struct Case {
    int64_t max_positions, prompts, prompt_tokens;
  };
  for (const auto& [max_positions, prompts, prompt_tokens] : {Case{4096, 1, 1024}, Case{256, 5, 250}}) {
    ModelConfig config = Parsed(With(Large(), "num_nextn_predict_layers", 1));
    config.mtp = MtpUse::kDrafts;
    config.max_positions = max_positions;
    StageConfig stage;
    stage.kind = StageKind::kEval;
    SamplingConfig& sampling = stage.evaluation.sampling;
    sampling.max_batch = prompts + 1;
    sampling.cache_mib = 16;
    const auto planned = [&] {
      const Pools pools = PoolsOfStage({}, stage, config, 1).value();
      int64_t bytes = 0;
      for (const auto& [name, of_pool] : pools) bytes += name == "activations of sampling" ? of_pool : 0;
      return static_cast<double>(bytes);
    };
    ThreadPool pool(2);
    kernels::CpuBackend backend(&pool);
    CausalLm policy(config, RandomParameters(config), &backend);
    SamplingOptions options;
    options.max_new_tokens = 4;
    std::vector<Prompt> all(prompts);
    std::vector<SampleRequest> requests;
    for (Prompt& prompt : all) {
      prompt.tokens = RandomTokens(config.vocab_size, prompt_tokens, requests.size());
      requests.push_back({.prompt = &prompt, .samples = {0}, .key = 1, .sampling = &options});
    }
    const auto taken = [&] {
      Engine engine(&policy, EngineOptionsOf(sampling));
      for (const SampleRequest& request : requests) EXPECT_TRUE(engine.Submit(request).ok());
      while (!engine.idle()) engine.Step();
      EXPECT_EQ(engine.TakeCounts().drafted_tokens > 0, sampling.by_mtp());
      return static_cast<double>(policy.decode_pass().bytes());
    };
    sampling.drafts = Drafts::kMtp;
    for (sampling.draft_tokens = 0; sampling.draft_tokens < 2; ++sampling.draft_tokens) {
      const double bytes = taken();
      EXPECT_NEAR(planned() / bytes, 1, 0.06)  // experts have as many rows as each other in a plan alone
          << max_positions << " " << sampling.draft_tokens << ": " << planned() << ", " << bytes;
    }
  }
}

TEST(PlanMemory, OfAnUpdateIsWhatTheSystemCounts) { ExpectThePlan(TrainPass::Keep::kAll); }

TEST(PlanMemory, OfAnUpdateThatRunsMlpsAgainIsWhatTheSystemCounts) {
  ExpectThePlan(TrainPass::Keep::kAttention);
}

TEST(PlanMemory, OfAnUpdateThatRunsBlocksAgainIsWhatTheSystemCounts) {
  ExpectThePlan(TrainPass::Keep::kInputs);
}

}  // namespace
}  // namespace temper
