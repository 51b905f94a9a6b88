// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "model/blocks.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/parameters.h"
#include "model/rope.h"
#include "model/workspace.h"

namespace temper {

// New tokens for the paged cache: sequences one after another, their tokens row by row. A decode step has one
// row a sequence, a prefill many; both may be in one batch.
struct TokenBatch {
  struct Sequence {
    int64_t rows = 0;
    int64_t first_position = 0;       // how many tokens of the sequence are in the cache already
    absl::Span<const int32_t> pages;  // page b holds positions 64b..64b+63; covers the new tokens
  };
  std::vector<int32_t> tokens;
  std::vector<Sequence> sequences;
};

// Whole sequences packed for training; targets[i] is the token after row i, or -1 where none counts.
struct Microbatch {
  std::vector<int32_t> tokens;
  std::vector<int32_t> targets;
  std::vector<int64_t> lengths;  // of the sequences, in order
};

// What a training forward pass keeps for its backward pass. Reused from microbatch to microbatch.
class Tape {
 public:
  // With recompute, blocks keep only their input and run again in the backward pass: same bits, less memory,
  // a third more work.
  explicit Tape(bool recompute = false) : recompute_(recompute) {}
  int64_t bytes() const { return space_.bytes(); }

 private:
  friend class CausalLm;
  bool recompute_;
  Workspace space_;
  const Microbatch* batch_ = nullptr;
  float temperature_ = 1;
  std::vector<int32_t> positions_;
  std::vector<float*> block_pointers_;
  std::vector<kernels::AttentionSequence> sequences_;
  std::vector<Matrix> inputs_;  // of each block, and of the final norm
  std::vector<std::unique_ptr<Saved>> saved_;
  Matrix hidden_;
  float* rstd_ = nullptr;
  std::vector<kernels::LogSumExp> sums_;
};

// The policy: one model for rollout, trainer and reference (docs/exactness.md, E1). Decode, prefill and the
// packed forward run the same blocks over the same kernels. One thread calls; the pool's threads help. Holds
// the weights; `parameters()` may be changed between calls if WeightsChanged follows.
class CausalLm {
 public:
  // The backend outlives the policy. Weights go to its memory if that is not the host's.
  CausalLm(ModelConfig config, Parameters parameters, kernels::Backend* backend);
  ~CausalLm();
  CausalLm(const CausalLm&) = delete;
  CausalLm& operator=(const CausalLm&) = delete;

  const ModelConfig& config() const { return config_; }
  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }
  kernels::Backend& backend() const { return *backend_; }
  bool exact() const { return backend_->exact(); }

  // The policy version that the weights are now; panels packed from older weights are packed anew before
  // their next use.
  void WeightsChanged(int64_t version);
  int64_t version() const { return version_; }

  // Writes the new tokens' keys into the cache. The logits [logit_rows.size(), vocab] of the rows named lie
  // in the backend's memory until the next pass.
  Matrix Forward(const TokenBatch& batch, const KvCache& cache, absl::Span<const int32_t> logit_rows);

  // logprobs[i] = log p(targets[i] | tokens before) at the temperature, 0 where the target is -1; entropies
  // may be null. With a tape, Backward may follow.
  void Logprobs(const Microbatch& batch, float temperature, float* logprobs, double* entropies, Tape* tape);

  // Gradients of sum_i dlogprobs[i] * logprobs[i] continue their chains in the bound buffers. Uses up the
  // tape.
  void Backward(Tape& tape, const float* dlogprobs);

  // The gradient of every trained parameter, flat, at its offset of the layout; with tied embeddings the
  // head's own part follows (GradientFloats). The buffer is the caller's, in the backend's memory, and is not
  // cleared.
  void BindGradients(float* flat);
  int64_t TrainedFloats() const { return parameters_.layout().trained_elements(); }
  int64_t GradientFloats() const {
    return TrainedFloats() + (config_.tie_word_embeddings ? config_.vocab_size * config_.hidden_size : 0);
  }
  // Tied embedding: adds the head's part to the embedding's (head, then embedding), once a leaf.
  void FoldTiedHead();

  int64_t workspace_bytes() const { return space_.bytes(); }

 private:
  class LayerWeights;
  struct Layer {
    std::unique_ptr<Block> attention;
    std::unique_ptr<Block> mlp;
  };

  void EnsurePacked();
  BatchView View(const std::vector<int32_t>& positions,
                 absl::Span<const kernels::AttentionSequence> sequences);
  void Embed(const std::vector<int32_t>& tokens, Matrix x) const;
  Block& BlockAt(size_t index) {
    return index % 2 == 0 ? *layers_[index / 2].attention : *layers_[index / 2].mlp;
  }

  ModelConfig config_;
  Parameters parameters_;
  kernels::Backend* backend_;
  int64_t version_ = 0;

  std::vector<Weight> weights_;  // one for each parameter
  std::shared_ptr<void> packed_memory_;
  int64_t packed_floats_ = 0;
  std::vector<kernels::PackedMatrix> packed_;  // the same indices; empty where the weight is used unpacked
  int64_t packed_version_ = -1;
  Weight embedding_, final_norm_, head_;
  std::vector<Layer> layers_;
  RopeTables rope_;
  Workspace space_;
  int64_t embedding_index_ = 0, norm_index_ = 0, head_index_ = 0;
};

}  // namespace temper
