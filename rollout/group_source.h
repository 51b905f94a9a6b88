// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "data/trajectory.h"
#include "rewards/pool.h"
#include "rollout/engine.h"
#include "rollout/sampling.h"

namespace temper {

// One rollout: the prompts, how to sample them, and where finished samples are kept.
struct RolloutRequest {
  uint64_t seed = 0;
  std::string stage;
  int64_t rollout = 0;
  std::vector<Prompt> prompts;  // the same on every rank; no id twice
  int64_t samples_per_prompt = 1;
  int64_t policy_version = 0;  // of the samples
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
  int64_t taken_over = 0;  // groups that another rank sampled than they were dealt to; told on the first rank
  // Of each replica (Mesh::axis of dp_replicate): the share of the slowest one's sampling for which it had no
  // samples any more.
  std::vector<double> idle_shares;
};

// Where the scored groups of a rollout come from: an engine beside the trainer (rollout/worker.h), or the
// records of one that was (rollout/replay.h).
class GroupSource {
 public:
  virtual ~GroupSource() = default;

  // Groups in the order of the prompts, trajectories by sample index. Every rank calls it and returns the
  // same heads or the same error (Cancelled where `stop` ended a rank's share; what was scored is kept); the
  // rest of a trajectory one rank alone has, until Deliver (rollout/exchange.h).
  // progress and stop are called by this thread; progress counts the samples of the groups that this rank has
  // begun so far.
  virtual absl::StatusOr<std::vector<Group>> Collect(
      const RolloutRequest& request, RewardPool& rewards,
      absl::FunctionRef<void(int64_t finished, int64_t total)> progress, absl::FunctionRef<bool()> stop,
      RolloutCounts* counts) = 0;
};

}  // namespace temper
