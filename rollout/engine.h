// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "data/trajectory.h"
#include "model/causal_lm.h"
#include "rollout/drafter.h"
#include "rollout/scheduler.h"
#include "rollout/sequence.h"

namespace temper {

struct EngineOptions {
  int64_t max_batch = 256;        // sequences that decode together
  int64_t prefill_tokens = 1024;  // tokens of prompts that a step takes along
  int64_t draft_tokens = 0;       // tokens of a sample's draft in a step, at most
  bool mtp = false;               // the policy's MTP module drafts, one token a step
  bool paced = true;  // only where its passes are worth it, by the clock; else wherever there is room
  int64_t cache_bytes = int64_t{1} << 30;  // of the paged cache, at most
  int64_t positions = 0;  // of the longest sequence that will be asked for; 0: as many as the model has
};

// What an engine did; but for sampled_tokens it depends on the layout.
struct EngineCounts : Scheduler::Counts {
  int64_t sampled_tokens = 0;
  int64_t steps = 0;
};

struct FinishedSample {
  const SampleRequest* request = nullptr;
  int64_t sequence = 0;   // for Continue and Drop, where the request may continue
  Trajectory trajectory;  // verdicts and text are the caller's to fill in
};

// Continuous batching over the paged cache, a step at a time (rollout/scheduler.h). What is sampled depends
// on weights, prompt, options and key alone (E2), never on who decodes beside, on the cache's size or on what
// it holds. So a drafted token (rollout/drafter.h) is the sample's next one exactly where it equals the token
// that its own position draws.
//
// The MTP module's pass of each step costs time: it is left out beside many sequences, whose next step has no
// room for drafts, and where steps without drafts are faster (rollout/drafter.h). Its keys of what it left
// out are made when it runs again. One thread calls.
class Engine {
 public:
  Engine(CausalLm* model, const EngineOptions& options);
  ~Engine();

  // The pages of an engine's cache: those of cache_bytes, and no more than max_batch sequences can need.
  static int64_t CachePages(const ModelConfig& config, const EngineOptions& options,
                            const MeshPlace& place = {});

  const CausalLm& model() const { return *model_; }

  // Whether this prompt can be sampled: an InvalidArgument status names what does not fit.
  absl::Status Check(const Prompt& prompt, const SamplingOptions& options) const;
  // The same before there is one.
  static absl::Status Check(const ModelConfig& config, const EngineOptions& engine, const MeshPlace& place,
                            const Prompt& prompt, const SamplingOptions& options);

  // Its samples wait for their turn: those submitted first have precedence. Fails as Check does.
  absl::Status Submit(const SampleRequest& request);
  bool idle() const { return scheduler_.idle(); }
  // So many samples more would begin at once, as far as slots go; none while others wait.
  int64_t room() const { return scheduler_.waiting() > 0 ? 0 : options_.max_batch - scheduler_.running(); }
  // One forward pass: a token of each sequence that decodes, with the drafts that are right several, and
  // tokens of prompts. Engines of ranks that run in step (Mesh::in_step) step together, also those that have
  // nothing to do.
  void Step();
  // The samples that have finished since the last call, in the order of finishing.
  std::vector<FinishedSample> Take();

  // A finished sample of a request that may continue goes on after these tokens, which nobody sampled: its
  // trajectory has them as a segment of their own, and no logprobs of them. min_new_tokens, max_new_tokens
  // and max_positions count for the whole of it; an InvalidArgument status says what does not fit.
  absl::Status Continue(int64_t sequence, absl::Span<const int32_t> tokens);
  // A finished sample that nobody continues.
  void Drop(int64_t sequence);
  // All samples that are on their way, and what has not been taken.
  void Clear();

  // The model's weights are now those of `version`: called before the next step after
  // CausalLm::WeightsChanged. What was computed with others is computed again, also of samples on their way,
  // whose next tokens are a segment of the new version.
  void Swap(int64_t version);

  EngineCounts TakeCounts();
  int64_t cache_bytes() const {
    return cache_pages_ * KvCache::BytesPerPage(model_->config(), model_->mesh().place());
  }

 private:
  Matrix LogitsOf(const SequenceGroup& group) const;
  struct Place {
    const Sequence* sequence;
    int64_t ahead;  // tokens before it that are not appended yet
  };
  std::vector<kernels::SampledToken> Draw(absl::Span<const Place> places, const Matrix& logits) const;
  // Appends what the pass over the plan's rows drew.
  void Extend(const std::vector<Scheduler::Rows>& plan, const Matrix& logits,
              absl::Span<const kernels::SampledToken> tokens);
  // Whether the next step, of so many sequences, is to have drafts of the MTP module: by most of the ranks
  // that step together.
  bool WantsMtp(int64_t sequences) const;
  // The MTP module's pass over what it has not seen of the sequences that run, and its drafts.
  void RunMtp(int64_t sequences);
  // The first of the tokens drawn, and each that follows a draft that is right.
  void AppendRight(const Scheduler::Rows& rows, absl::Span<const kernels::SampledToken> tokens);
  bool Append(Sequence* sequence, const kernels::SampledToken& token);  // whether it goes on
  void Finish(Sequence* sequence, StopReason stop);

  CausalLm* model_;
  const EngineOptions options_;
  const int64_t cache_pages_;
  int64_t version_;
  Scheduler scheduler_;
  std::unique_ptr<KvCache> cache_;  // from the first step on
  DraftPace pace_;
  int64_t next_id_ = 0;
  std::map<int64_t, std::unique_ptr<Sequence>> sequences_;
  std::vector<FinishedSample> finished_;
  EngineCounts counts_;
};

// Submits them all, after all have passed Check, and steps until they are finished: `done` has each as it
// finishes. Ends early (Cancelled) where `stop`, asked at every step, returns true; the engine is empty then.
// Ranks that run in step all call it, each with its own, and end together: where one stops, all do.
absl::Status SampleAll(Engine& engine, absl::Span<const SampleRequest> requests,
                       absl::FunctionRef<void(const SampleRequest&, Trajectory)> done,
                       absl::FunctionRef<bool()> stop);

// "the cache was too small for all samples: 12 times one gave up its pages ..", for a person; empty where
// none did.
std::string PreemptionText(const Scheduler::Counts& counts);
// "300 tokens were drafted, and 250 of them were right ..", for a person; empty where none was drafted.
std::string DraftText(const EngineCounts& counts);

}  // namespace temper
