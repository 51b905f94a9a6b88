// SPDX-License-Identifier: Apache-2.0
// A layer is two blocks, each with its norm and its residual: attention (grouped-query or MLA) and the MLP
// (dense or mixture of experts). Inside a block our code orders every sum, keeps what it saved, and runs dX
// and dW; the model's graph is the chain of blocks.
#pragma once

#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "model/config.h"
#include "model/workspace.h"

namespace temper {

// A weight [n, k] as a block uses it; a vector's k is 1. gradient is none in inference.
struct Weight {
  Matrix value;
  const kernels::PackedMatrix* packed = nullptr;
  Matrix gradient = {};

  int64_t n() const { return value.rows; }
  int64_t k() const { return value.cols; }
};

// The tokens of one forward pass, rows of every matrix in it.
struct BatchView {
  absl::Span<const int32_t> positions;                     // [rows]
  absl::Span<const kernels::AttentionSequence> sequences;  // blocks of the layer at hand
  const float* cosines = nullptr;                          // [max positions, rope dim / 2], on the device
  const float* sines = nullptr;
};

// What a block's forward pass leaves for its backward pass; the floats live in the pass's workspace.
struct Saved {
  virtual ~Saved() = default;
};

class Block {
 public:
  virtual ~Block() = default;
  // y = x + f(norm(x)). x and y may not overlap. `saved`, if not null, receives what Backward needs (x is
  // kept by reference).
  virtual void Forward(const Context& c, const BatchView& batch, Matrix x, Matrix y,
                       std::unique_ptr<Saved>* saved) = 0;
  // dx from dy (may not overlap); the weights' gradients continue their chains.
  virtual void Backward(const Context& c, const BatchView& batch, const Saved& saved, Matrix dy,
                        Matrix dx) = 0;
};

// Weights are looked up by the block's own short names ("q_proj.weight"); `find` gives what is behind the
// layer's prefix, and data == nullptr for what the model does not have. The Weight objects outlive the block.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual const Weight* Find(const std::string& name) const = 0;  // null if absent
};

std::unique_ptr<Block> MakeAttentionBlock(const ModelConfig& config, const WeightSource& weights,
                                          int64_t layer);
std::unique_ptr<Block> MakeMlpBlock(const ModelConfig& config, const WeightSource& weights, int64_t layer);

// Each a file of its own; the two functions above pick.
std::unique_ptr<Block> MakeGroupedAttention(const ModelConfig& config, const WeightSource& weights,
                                            int64_t layer);
std::unique_ptr<Block> MakeLatentAttention(const ModelConfig& config, const WeightSource& weights,
                                           int64_t layer);
std::unique_ptr<Block> MakeDenseMlp(const ModelConfig& config, const WeightSource& weights, int64_t layer);
std::unique_ptr<Block> MakeMoe(const ModelConfig& config, const WeightSource& weights, int64_t layer);

// Chunks of an axis that a layout of ranks may split; the other axes are one chain.
inline constexpr int kSplitAxis = kernels::kChunks;
inline constexpr int kWholeAxis = 1;

// The products a block is made of. Forward: y = x W^T (+ bias) (+ add); input gradient: dx = dy W (+ add);
// weight gradient.
kernels::Product Forward(const Weight& weight, Matrix x, Matrix y, int k_chunks, const Weight* bias = nullptr,
                         Matrix add = {});
kernels::Product InputGradient(const Weight& weight, Matrix dy, Matrix dx, int k_chunks, Matrix add = {});
kernels::WeightGradient GradientOf(const Weight& weight, Matrix dy, Matrix x);

}  // namespace temper
