// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "model/config/config.h"
#include "model/decode/pass.h"
#include "model/pass.h"

namespace temper {

// The policy: one model for rollout, trainer and reference (docs/exactness.md, E1): its weights, the stack of
// layers over them, and a pass that decodes. One thread calls; the backend's threads help.
class CausalLm {
 public:
  // The backend and the mesh outlive the policy. Weights go to the backend's memory if that is not the
  // host's; they are those that the layout gives to this rank of the mesh. `rounded`: see Weights.
  CausalLm(ModelConfig config, Parameters parameters, kernels::Backend* backend, bool rounded = false,
           const Mesh& mesh = Mesh::Single())
      : config_(std::move(config)),
        weights_(config_, std::move(parameters), backend, rounded, &mesh.sharers()),
        stack_(config_, &weights_, mesh),
        decode_(&stack_) {}
  CausalLm(const CausalLm&) = delete;
  CausalLm& operator=(const CausalLm&) = delete;

  const ModelConfig& config() const { return config_; }
  Weights& weights() { return weights_; }
  const Weights& weights() const { return weights_; }
  Parameters& parameters() { return weights_.parameters(); }
  const Parameters& parameters() const { return weights_.parameters(); }
  Stack& stack() { return stack_; }
  const Mesh& mesh() const { return stack_.mesh(); }
  kernels::Backend& backend() const { return weights_.backend(); }
  bool exact() const { return backend().exact(); }

  // `parameters()` were changed, and are this policy version now.
  void WeightsChanged(int64_t version) { weights_.Changed(version); }
  int64_t version() const { return weights_.version(); }

  // DecodePass::Forward, by one pass that lives as long as the policy.
  Matrix Forward(const TokenBatch& batch, const KvCache& cache, absl::Span<const int32_t> logit_rows) {
    return decode_.Forward(batch, cache, logit_rows);
  }
  DecodePass& decode_pass() { return decode_; }
  const DecodePass& decode_pass() const { return decode_; }
  // TrainPass::Logprobs, by a pass that keeps nothing.
  void Logprobs(const Microbatch& batch, float temperature, float* logprobs, double* entropies = nullptr) {
    TrainPass(&stack_, TrainPass::Keep::kNothing).Logprobs(batch, temperature, logprobs, entropies);
  }

 private:
  const ModelConfig config_;
  Weights weights_;
  Stack stack_;
  DecodePass decode_;
};

}  // namespace temper
