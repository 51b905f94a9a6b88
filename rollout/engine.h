// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "data/tokenizer/tokenizer.h"
#include "data/trajectory.h"
#include "kernels/sample.h"
#include "model/causal_lm.h"
#include "rollout/block_allocator.h"

namespace temper {

// How completions are drawn. One meaning for `sample`, `eval` and every stage.
struct SamplingOptions {
  int64_t max_new_tokens = 256;
  kernels::SampleParameters parameters;
  bool ignore_eos = false;  // the end token may be sampled and does not stop
  std::vector<int32_t> eos_ids;
  // A completion ends with the token that completes one of these in its text (rollout/stop_strings.h); they
  // need the tokenizer.
  std::vector<std::string> stop_strings;
  const Tokenizer* tokenizer = nullptr;
};

// The samples wanted of one prompt. key: RandomKey(seed, stage, rollout, prompt id).
struct SampleRequest {
  const Prompt* prompt = nullptr;
  std::vector<int32_t> samples;  // indices in the group
  uint64_t key = 0;
};

struct EngineOptions {
  int64_t max_batch = 256;        // sequences that decode together
  int64_t prefill_tokens = 1024;  // prompt tokens a step takes along
  int64_t cache_bytes =
      int64_t{1} << 30;  // of the paged cache, at most; what max_batch sequences need, if that is less
};

// Counts of one call; the rest is for metrics outside time/.
struct EngineCounts {
  int64_t prompt_tokens = 0;  // computed: a group's prompt counts once
  int64_t sampled_tokens = 0;
  int64_t steps = 0;
};

// Continuous batching over the paged cache. A prompt is prefilled once for its group, its full pages are
// shared and the last one copied; sequences join and leave at every step. What is sampled depends on weights,
// prompt, options and key alone (E2), never on who decodes beside. One thread calls.
class Engine {
 public:
  // The model's weights may change between calls. max_positions: the longest prompt + completion that will be
  // asked for.
  Engine(CausalLm* model, const EngineOptions& options);
  ~Engine();

  const CausalLm& model() const { return *model_; }

  // Whether Run can sample this prompt: an InvalidArgument status names what does not fit.
  absl::Status Check(const Prompt& prompt, const SamplingOptions& options) const;

  // Calls `done` with each finished sample, in the order of finishing; verdicts, text and stage are the
  // caller's to fill in. Checks all prompts first. Stops early (Cancelled) when `stop`, asked at every step,
  // returns true.
  absl::Status Run(absl::Span<const SampleRequest> requests, const SamplingOptions& options,
                   absl::FunctionRef<void(const SampleRequest&, Trajectory)> done,
                   absl::FunctionRef<bool()> stop, EngineCounts* counts);

  // Pages that `sequences` sequences of at most `positions` positions need; what Run would allocate.
  int64_t CacheBytes(int64_t positions) const;

 private:
  struct PromptState;
  struct Sequence;
  class Schedule;

  CausalLm* model_;
  EngineOptions options_;
  std::unique_ptr<KvCache> cache_;
};

}  // namespace temper
