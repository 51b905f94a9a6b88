// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "core/huge_pages.h"
#include "core/thread_pool.h"
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
  explicit Tape(bool recompute = false, at::Device device = at::kCPU)
      : recompute_(recompute), space_(device) {}
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
  std::vector<Rows> inputs_;  // of each block, and of the final norm
  std::vector<std::unique_ptr<Saved>> saved_;
  Rows hidden_;
  float* rstd_ = nullptr;
  std::vector<kernels::LogSumExp> sums_;
};

// The policy: one model for rollout, trainer and reference (docs/exactness.md, E1). Decode, prefill and the
// packed forward run the same blocks over the same kernels. One thread calls; the pool's threads help. Holds
// the weights; `parameters()` may be changed between calls if WeightsChanged follows.
class CausalLm {
 public:
  CausalLm(ModelConfig config, Parameters parameters, ThreadPool* pool, at::Device device = at::kCPU);
  ~CausalLm();
  CausalLm(const CausalLm&) = delete;
  CausalLm& operator=(const CausalLm&) = delete;

  const ModelConfig& config() const { return config_; }
  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }
  ThreadPool& pool() const { return *pool_; }
  at::Device device() const { return device_; }
  // Runs LibTorch's ops on the CPU too: how their CUDA twin is tested. On CUDA they are the only ones.
  void UseLibraryOps(bool on) { library_ = on || device_.is_cuda(); }
  // False: LibTorch's ops, whose results change with batch and packing.
  bool exact() const { return !library_; }

  // The policy version that the weights are now; panels packed from older weights are packed anew before
  // their next use.
  void WeightsChanged(int64_t version);
  int64_t version() const { return version_; }

  // Writes the new tokens' keys into the cache and the logits [logit_rows.size(), vocab] of the rows named,
  // on the host as all results are.
  void Forward(const TokenBatch& batch, const KvCache& cache, absl::Span<const int32_t> logit_rows,
               float* logits);

  // logprobs[i] = log p(targets[i] | tokens before) at the temperature, 0 where the target is -1; entropies
  // may be null. With a tape, Backward may follow.
  void Logprobs(const Microbatch& batch, float temperature, float* logprobs, double* entropies, Tape* tape);

  // Gradients of sum_i dlogprobs[i] * logprobs[i] continue their chains in the bound buffers. Uses up the
  // tape.
  void Backward(Tape& tape, const float* dlogprobs);

  // The gradient of every trained parameter, flat, at its offset of the layout; with tied embeddings the
  // head's own part follows (GradientFloats). The buffer is the caller's, on device(), and is not cleared.
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
  Context MakeContext(Workspace* space);
  BatchView View(const std::vector<int32_t>& positions,
                 absl::Span<const kernels::AttentionSequence> sequences);
  void Embed(const Context& c, const std::vector<int32_t>& tokens, Rows x) const;
  Block& BlockAt(size_t index) {
    return index % 2 == 0 ? *layers_[index / 2].attention : *layers_[index / 2].mlp;
  }

  ModelConfig config_;
  Parameters parameters_;
  ThreadPool* pool_;
  at::Device device_;
  bool library_;
  int64_t version_ = 0;

  std::vector<Weight> weights_;  // one for each parameter
  FloatBuffer packed_memory_;
  std::vector<kernels::PackedMatrix> packed_;  // the same indices; empty where the weight is used unpacked
  int64_t packed_version_ = -1;
  Weight embedding_, final_norm_, head_;
  std::vector<Layer> layers_;
  RopeTables rope_;
  Workspace space_;
  int64_t embedding_index_ = 0, norm_index_ = 0, head_index_ = 0;
};

}  // namespace temper
