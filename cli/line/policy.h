// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/config/config.h"
#include "core/thread_pool.h"
#include "data/tokenizer/tokenizer.h"
#include "model/policy.h"
#include "rollout/engine.h"
#include "trainer/sampling.h"

namespace temper {

// Which policy a command runs, and on how many threads.
struct PolicyOptions {
  std::string model;
  int64_t threads = 0;
  std::string device = "cpu";

  template <class V>
  void Fields(V& v) {
    v.Field("model", model,
            "A Hugging Face style directory (config.json, safetensors, tokenizer.json), or the folder of a "
            "run or a stage: its newest checkpoint.",
            Required());
    v.Field("threads", threads, "Threads; 0: as many as there are cores. Changes speed, never bits.",
            Between(0, 1024));
    v.Field("device", device,
            "Where the policy lives: cpu, cuda or cuda:N. GPUs of sm_90 (H100, H200) are to have the CPU's "
            "bits, others are not exact. sim: a simulated GPU, for the smallest models.");
  }
};

// The model directory that --model means (trainer/run_directory/model_directory.h); a line says so where it
// is another.
absl::StatusOr<std::string> FindModel(const std::string& path);

// The backend of the device that --device names; its error names the option.
absl::StatusOr<std::unique_ptr<kernels::Backend>> BackendOfOption(const std::string& name, ThreadPool* pool);

// How a command draws completions.
struct DrawOptions : Sampling {
  // What the policy needs for it.
  MtpUse mtp() const { return by_mtp() ? MtpUse::kDrafts : MtpUse::kCarried; }
  uint64_t seed = 0;
  int64_t max_batch = 256;
  int64_t cache_mib = 0;

  template <class V>
  void Fields(V& v) {
    Sampling::Fields(v);
    v.Field("seed", seed, "Every draw is a function of it, the prompt's id and the sample's index.");
    v.Field("max_batch", max_batch, "Sequences that decode together. Changes speed and memory, never bits.",
            Between(1, 1 << 16));
    v.Field("cache_mib", cache_mib, "Paged cache, at most, in MiB; 0: half of the free memory, at most 4096.",
            Between(0, 1 << 24));
  }
};

// The policy of a command, with the threads it runs on.
class CommandPolicy {
 public:
  // A directory without tokenizer.json is fine: tokenizer() is null.
  static absl::StatusOr<std::unique_ptr<CommandPolicy>> Open(const PolicyOptions& options,
                                                             MtpUse mtp = MtpUse::kCarried);

  CausalLm& model() { return *policy_.model; }
  const Tokenizer* tokenizer() const { return policy_.tokenizer.get(); }

  absl::StatusOr<SamplingOptions> Sampling(const DrawOptions& options) const;
  // An engine for sequences of at most `positions` positions. An error if their cache would not fit the
  // machine's free memory; a GPU's is not asked.
  absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const DrawOptions& options, int64_t positions);

 private:
  explicit CommandPolicy(int threads) : pool_(threads) {}

  ThreadPool pool_;
  std::unique_ptr<kernels::Backend> backend_;
  OpenedPolicy policy_;
};

}  // namespace temper
