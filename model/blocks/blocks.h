// SPDX-License-Identifier: Apache-2.0
// A layer is two blocks, each with its norm and its residual: attention (grouped-query or MLA) and the MLP
// (dense or mixture of experts). Inside a block our code orders every sum, keeps what it saved, and runs dX
// and dW; the model's graph is the chain of blocks.
#pragma once

#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "model/config/config.h"
#include "model/layout.h"
#include "model/linear.h"

namespace temper {

// A sequence that ranks of mesh.cp share, each rank's positions of it (model/stretches.h).
struct SharedSequence {
  int64_t positions = 0;
  std::vector<std::vector<IndexRange>> ranges;
  std::vector<kernels::AttentionSequence> whole;  // of one: where the keys of all positions are
};

// The tokens of one forward pass, rows of every matrix in it.
struct BatchView {
  absl::Span<const int32_t> positions;  // [rows]
  absl::Span<const kernels::AttentionSequence> sequences;
  const float* cosines = nullptr;  // [max positions, rope dim / 2], on the device
  const float* sines = nullptr;
  bool interleaved = false;  // pairs of the rotary embedding lie beside each other
  // Whose keys are written; none: those of the sequences.
  absl::Span<const kernels::AttentionSequence> written = {};
  const SharedSequence* shared = nullptr;  // null: the rows are whole sequences, or all new ones of them
  int64_t layer_offset = 0;                // from the blocks of the sequences to those of the layer at hand

  int64_t rows() const { return static_cast<int64_t>(positions.size()); }

  absl::Span<const kernels::AttentionSequence> keys() const { return written.empty() ? sequences : written; }
  // The task that turns heads to their positions; `inverse`: back.
  kernels::RotaryTask Rotary(const kernels::Heads& x, bool inverse = false) const {
    return {.x = x,
            .positions = positions.data(),
            .cosines = cosines,
            .sines = sines,
            .interleaved = interleaved,
            .inverse = inverse};
  }
};

// What a block's forward pass leaves for its backward pass; the floats live in the pass's workspace.
struct Saved {
  virtual ~Saved() = default;
};

class Block {
 public:
  virtual ~Block() = default;
  // y = x + f(norm(x)), of the batch's rows or, where ranks share rows, this rank's own (model/across.h); dx
  // and dy likewise. x and y may not overlap. `saved`, if not null, receives what Backward needs (x is
  // kept by reference); without a y nothing else is computed. What else it takes of the workspace it gives
  // back.
  virtual void Forward(const Context& c, const BatchView& batch, Matrix x, Matrix y,
                       std::unique_ptr<Saved>* saved) = 0;
  // dx from dy (may not overlap); the weights' gradients continue their chains.
  virtual void Backward(const Context& c, const BatchView& batch, const Saved& saved, Matrix dy,
                        Matrix dx) = 0;
};

// Which layer, on which rank: what the rank has of it.
struct LayerPlace {
  int64_t layer = 0;
  MeshPlace rank;
};

std::unique_ptr<Block> MakeAttentionBlock(const ModelConfig& config, const WeightSource& weights,
                                          const LayerPlace& at);
std::unique_ptr<Block> MakeMlpBlock(const ModelConfig& config, const WeightSource& weights,
                                    const LayerPlace& at);

// Each a file of its own; the two functions above pick.
std::unique_ptr<Block> MakeGroupedAttention(const ModelConfig& config, const WeightSource& weights,
                                            const LayerPlace& at);
std::unique_ptr<Block> MakeLatentAttention(const ModelConfig& config, const WeightSource& weights,
                                           const LayerPlace& at);
std::unique_ptr<Block> MakeDenseMlp(const ModelConfig& config, const WeightSource& weights,
                                    const LayerPlace& at);
std::unique_ptr<Block> MakeMoe(const ModelConfig& config, const WeightSource& weights, const LayerPlace& at);

}  // namespace temper
