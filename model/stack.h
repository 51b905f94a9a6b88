// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "model/blocks/blocks.h"
#include "model/blocks/rope.h"
#include "model/vocabulary.h"
#include "model/weights.h"

namespace temper {

// The policy's layers one on another, between the embedding and the head: what passes go through
// (model/pass.h). Holds nothing of a pass.
class Stack {
 public:
  // The weights, and the mesh by which ranks share them, outlive the stack.
  Stack(const ModelConfig& config, Weights* weights, const Mesh& mesh);

  const ModelConfig& config() const { return config_; }
  Weights& weights() const { return weights_; }
  kernels::Backend& backend() const { return weights_.backend(); }
  const Mesh& mesh() const { return mesh_; }
  const Vocabulary& vocabulary() const { return vocabulary_; }
  // Two a layer: attention, then the MLP.
  const std::vector<std::unique_ptr<Block>>& blocks() const { return blocks_; }
  const Norm& final_norm() const { return final_norm_; }

  // The rotation's tables reach beyond every position; those of an older view die if they grow.
  BatchView View(const std::vector<int32_t>& positions,
                 absl::Span<const kernels::AttentionSequence> sequences);

 private:
  const ModelConfig& config_;
  Weights& weights_;
  const Mesh& mesh_;
  Vocabulary vocabulary_;
  std::vector<std::unique_ptr<Block>> blocks_;
  Norm final_norm_;
  RopeTables rope_;
};

}  // namespace temper
