// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "comm/mesh.h"
#include "data/tokenizer/tokenizer.h"
#include "rollout/engine.h"
#include "rollout/group_queue.h"
#include "rollout/group_source.h"

namespace temper {

// Groups sampled by this rank's engine, beside the trainer. Each rank samples its share of the prompts, and
// what slower ones have not begun (rollout/hand_out.h), together with its mates of the mesh, who have parts
// of the policy each; rules score on the pool while others still decode; a scored sample is in the record
// file before anyone uses it. What an interrupted rollout left in the records, of any number of ranks, is not
// sampled again (rollout/replay.h). A sample that no rule could judge is kept as it is, and RewardOf drops
// it; where that is so of every sample, Collect ends with an Unavailable error that names a rule and its
// reason, and the next call starts over.
class RolloutWorker : public GroupSource {
 public:
  // All three outlive the worker.
  RolloutWorker(Engine* engine, const Tokenizer* tokenizer, const Mesh& mesh)
      : engine_(engine), tokenizer_(tokenizer), mesh_(mesh) {}

  // The request's policy version is the model's.
  absl::StatusOr<std::vector<Group>> Collect(
      const RolloutRequest& request, RewardPool& rewards,
      absl::FunctionRef<void(int64_t finished, int64_t total)> progress, absl::FunctionRef<bool()> stop,
      RolloutCounts* counts) override;

 private:
  // The requests as they are dealt out: the tokens that each is expected to take, by what is known of it.
  GroupQueue Dealt(const std::vector<SampleRequest>& requests) const;
  void RememberLengths(const std::vector<Group>& groups);

  Engine* engine_;
  const Tokenizer* tokenizer_;
  const Mesh& mesh_;
  // Of a prompt's completions when they were last sampled, the mean; the same on every rank.
  std::map<std::string, int64_t> lengths_;
};

}  // namespace temper
