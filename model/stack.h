// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "model/blocks/blocks.h"
#include "model/blocks/mtp.h"
#include "model/blocks/rope.h"
#include "model/vocabulary.h"
#include "model/weights.h"

namespace temper {

// The policy's layers one on another, between the embedding and the head, or those that this rank of a
// pipeline (mesh.pp) has: what passes go through (model/pass.h). Holds nothing of a pass.
class Stack {
 public:
  // The weights, and the mesh by which ranks share them, outlive the stack.
  Stack(const ModelConfig& config, Weights* weights, const Mesh& mesh);

  const ModelConfig& config() const { return config_; }
  Weights& weights() const { return weights_; }
  kernels::Backend& backend() const { return weights_.backend(); }
  const Mesh& mesh() const { return mesh_; }
  const Vocabulary& vocabulary() const { return vocabulary_; }
  // Two a layer: attention, then the MLP. Of all chunks, one behind another.
  const std::vector<std::unique_ptr<Block>>& blocks() const { return blocks_; }
  // Neighbouring layers that this rank has, its blocks [begin, end). Of one rank there is one chunk, with the
  // embedding before it and the head behind it.
  struct Chunk {
    size_t begin = 0, end = 0;
    bool embeds = false, predicts = false;
  };
  const std::vector<Chunk>& chunks() const { return chunks_; }
  // Of the weights of a block's layer (Weights::Acquire).
  int64_t UnitOf(size_t block) const { return weights_.layer_unit(layers_[block / 2]); }
  // Of the weights that are computed with behind those of a block's layer: the next layer's of its chunk, or
  // the head's; and on the way back those of the layer before.
  int64_t UnitBehind(const Chunk& chunk, size_t block) const {
    if (block / 2 * 2 + 2 < chunk.end) return UnitOf(block + 2);
    return chunk.predicts ? weights_.head_unit() : Weights::kNone;
  }
  int64_t UnitBefore(const Chunk& chunk, size_t block) const {
    return block >= chunk.begin + 2 ? UnitOf(block - 2) : Weights::kNone;
  }
  // The ranks that have the other chunks.
  Communicator& pipeline() const { return mesh_.axis(Axis::kPp); }
  // Rows of activations, or their gradients, to and from a rank of the pipeline; sending waits for nobody.
  void SendRows(Matrix rows, int to, int tag) const;
  void ReceiveRows(Matrix rows, int from, int tag) const;
  // Of the last chunk's rank.
  const Norm& final_norm() const { return final_norm_; }
  // Likewise; null where the policy has none (ModelConfig::mtp).
  const Mtp* mtp() const { return mtp_.get(); }

  // The rotation's tables reach beyond every position; those of an older view die if they grow.
  BatchView View(const std::vector<int32_t>& positions,
                 absl::Span<const kernels::AttentionSequence> sequences);

 private:
  const ModelConfig& config_;
  Weights& weights_;
  const Mesh& mesh_;
  Vocabulary vocabulary_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<int64_t> layers_;  // of each two blocks
  std::vector<Chunk> chunks_;
  Norm final_norm_;
  std::unique_ptr<Mtp> mtp_;
  RopeTables rope_;
};

}  // namespace temper
