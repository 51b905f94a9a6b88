// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "comm/mesh.h"
#include "data/tokenizer/tokenizer.h"
#include "data/trajectory.h"
#include "rewards/pool.h"
#include "rollout/engine.h"

namespace temper {

// One rollout: the prompts, how to sample them, and where finished samples are kept.
struct RolloutRequest {
  uint64_t seed = 0;
  std::string stage;
  int64_t rollout = 0;
  std::vector<Prompt> prompts;  // the same on every rank; no id twice
  int64_t samples_per_prompt = 1;
  // Of the samples. The model's own, or an earlier one whose samples are all in the records (a resume in the
  // middle of a rollout's updates).
  int64_t policy_version = 0;
  SamplingOptions sampling;
  // Path without ending, best one a rollout: all that is there is read first. Rank r appends to
  // RecordPath(records, r). Empty: not kept.
  std::string records;
};

struct RolloutCounts {
  EngineCounts engine;            // of this rank
  int64_t resumed_samples = 0;    // of all ranks: found in the records, not sampled again
  int64_t repeated_samples = 0;   // found there and sampled again; told on the first rank
  double sample_seconds = 0;      // of this rank
  double score_wait_seconds = 0;  // of this rank: after its last sample, until its last verdict
};

// Prompts in, scored groups out, on every rank the same. Each rank samples its share of the prompts; rules
// score on the pool while others still decode; a scored sample is in the record file before anyone uses it.
// What an interrupted rollout left in the records, of any number of ranks, is not sampled again: samples of
// the same prompt and the policy's version, with verdicts of the pool's rules. A sample whose verdicts hold
// an infrastructure error is judged once more; if that fails too it is kept as it is, and RewardOf drops it.
// Where that is so of every sample, Collect ends with an Unavailable error that names a rule and its reason;
// the next call starts over.
class RolloutWorker {
 public:
  // All three outlive the worker.
  RolloutWorker(Engine* engine, const Tokenizer* tokenizer, const Mesh& mesh)
      : engine_(engine), tokenizer_(tokenizer), mesh_(mesh) {}

  // Groups in the order of the prompts, trajectories by sample index. Every rank calls it and returns the
  // same groups or the same error (Cancelled where `stop` ended a rank's share; what was scored is kept).
  // progress and stop are called by this thread; progress counts the samples of this rank's share.
  absl::StatusOr<std::vector<Group>> Collect(
      const RolloutRequest& request, RewardPool& rewards,
      absl::FunctionRef<void(int64_t finished, int64_t total)> progress, absl::FunctionRef<bool()> stop,
      RolloutCounts* counts);

 private:
  Engine* engine_;
  const Tokenizer* tokenizer_;
  const Mesh& mesh_;
};

}  // namespace temper
