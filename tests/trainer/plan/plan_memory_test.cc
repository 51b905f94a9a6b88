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
#include "gtest/gtest.h"
#include "tests/model/odd_models.h"
#include "trainer/plan/plan.h"
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
  double planned = 0;
  std::string pools;
  const Workload work{.updates = &updates, .tokens = 2 * 512};
  for (const auto& [name, bytes] : UpdatePools(Parsed(Large()), work, {})) {
    planned += static_cast<double>(bytes);
    absl::StrAppend(&pools, name, " ", bytes >> 20, " MiB\n");
  }
  EXPECT_NEAR(planned / taken, 1, 0.05) << planned << " planned, " << taken << " taken; " << pools;
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
