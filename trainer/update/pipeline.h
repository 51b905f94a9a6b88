// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "model/causal_lm.h"
#include "trainer/update/schedule.h"

namespace temper {

// Puts microbatches through the policy, of which this rank has some layers (mesh.pp) or all, by a schedule.
// Each weight's gradient is one chain over the microbatches in their order, the same under every schedule and
// on any number of ranks. The ranks of a pipeline call together, with the same microbatches.
class Pipeline {
 public:
  // The policy outlives it.
  Pipeline(CausalLm* model, TrainPass::Keep keep);

  // What is asked for on the way, by the microbatch's number.
  struct Update {
    // On the rank that has the head: the logprobs are there; fills in the loss's gradient, all zeros so far.
    // `mtp`: TrainPass::mtp_rows.
    absl::FunctionRef<void(size_t batch, const float* logprobs, float* dlogprobs, MtpRows* mtp)> loss;
    // Gradients of the microbatch are computed next: binds their buffers.
    absl::FunctionRef<void(size_t batch)> bind;
    // On the rank that has the head: it has its gradient of the microbatch. Comes before `done` on any rank.
    absl::FunctionRef<void(size_t batch)> head_done;
    // This rank has all its gradients of the microbatch, and of those before.
    absl::FunctionRef<void(size_t batch)> done;
  };
  // There and back.
  void Run(absl::Span<const Microbatch> batches, float temperature, const Update& update);

  // Forward alone. Every rank of the pipeline gets the logprobs, in the order of microbatches.
  void Logprobs(absl::Span<const Microbatch> batches, float temperature,
                absl::FunctionRef<void(size_t batch, const float* logprobs)> result);

  // Of activations, of all microbatches that were on their way at once; and of the memory that they are in.
  int64_t bytes() const;
  int64_t workspace_bytes() const;

  // How long Run took so far, and for how much of that this rank waited for others.
  double seconds() const { return seconds_; }
  double waited_seconds() const { return waited_seconds_; }

 private:
  // A microbatch in a chunk, from its first action to its last.
  struct Turn {
    std::unique_ptr<TrainPass> pass;
    Matrix output, gradient;  // of its last layer, and of its first one's input
    std::vector<float> logprobs, dlogprobs;
  };
  PipelineShape ShapeOf(size_t batches) const;
  Turn& TurnOf(const PipelineAction& action, const Microbatch& batch);
  // The turn is over; its pass is used again.
  void End(const PipelineAction& action);
  // What goes between ranks. Messages of a chunk have a tag of their own, and come in order.
  void Receive(const PipelineAction& action, Matrix rows);
  void Send(const PipelineAction& action, Matrix rows);

  CausalLm& model_;
  const TrainPass::Keep keep_;
  Workspace scratch_;                                           // of all passes
  std::map<std::pair<int64_t, int64_t>, Turn> turns_;           // by microbatch and chunk
  std::vector<std::vector<std::unique_ptr<TrainPass>>> spare_;  // by chunk
  double seconds_ = 0, waited_seconds_ = 0;
};

}  // namespace temper
