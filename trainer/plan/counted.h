// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "comm/message_log.h"
#include "kernels/backends/counting.h"
#include "model/causal_lm.h"
#include "trainer/plan/workload.h"
#include "trainer/update/step.h"

namespace temper {

// Where a policy is asked about: on one rank of a mesh.
struct PolicyPlace {
  MeshPlace mesh;
  bool on_gpu = false;
  bool bf16 = false;  // weights that are computed with
};

// A rank of a mesh, with neither memory nor ranks beside it: what runs there is counted (kernels/backends/
// counting.h, comm/counting.h).
class CountedRank {
 public:
  // `log`, where there is one, gets its messages, and outlives it.
  explicit CountedRank(const PolicyPlace& place, RankMessages* log = nullptr);

  // The rank's part of a policy without numbers.
  std::unique_ptr<CausalLm> NewPolicy(const ModelConfig& config, bool trained);

  const Mesh& mesh() const { return mesh_; }
  kernels::CountingBackend& backend() { return backend_; }

 private:
  const bool bf16_;
  const Mesh mesh_;
  ThreadPool pool_;
  kernels::CountingBackend backend_;
};

// The most that an update took at once: activations, and the workspaces that they are in.
struct UpdateMemory {
  int64_t activations = 0, workspaces = 0;
};

// Whether sequences of so many tokens have gradients that are made in stretches.
inline bool IsLong(const UpdatesConfig& updates, int64_t longest) {
  return updates.long_sequence_tokens > 0 && longest >= updates.long_sequence_tokens;
}

// The sequences of an update that keeps every rank as busy as the others: each has so many leaves of so many
// full microbatches, whose tokens are spread over the vocabulary.
class EvenUpdate {
 public:
  // Microbatches have MostRows, or are the longest sequence where that IsLong.
  EvenUpdate(const ModelConfig& config, const UpdatesConfig& updates, int64_t longest,
             const UpdateSize& size);

  UpdateMemory Run(CausalLm* policy, Optimizer* optimizer) const;
  // The logprobs of a rank's sequences under this policy.
  void Score(CausalLm* policy) const;
  int64_t rows() const { return rows_; }
  // How many ids of this range it puts through the policy.
  int64_t DifferentTokens(const IndexRange& ids) const;

 private:
  std::vector<const TrainSequence*> Leaf() const;

  const UpdatesConfig& updates_;
  const bool is_long_;
  const int64_t rows_;
  const UpdateSize size_;
  std::vector<TrainSequence> sequences_;  // of a microbatch
};

}  // namespace temper
