// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/causal_lm.h"

namespace temper {

// Of the messages by which ranks make the sum of squares of what they share.
inline constexpr int kFiguresTag = 2;

// Figures of each tensor that is trained, of the whole policy, of which a rank may have some, and parts of
// some: the same on all ranks, and those of one rank.
class TensorFigures {
 public:
  // The policy outlives it. Collective.
  explicit TensorFigures(const CausalLm* model);

  // Of all of them, in name order.
  const std::string& name(size_t tensor) const { return all_[tensor]->name; }
  // The sum of squares of a gradient, flat by the rank's layout: of each tensor as Backend::SumOfSquares over
  // the whole of it, then the tensors in their order. Collective.
  double SumOfSquares(const float* gradient) const;
  // The largest figure of each tensor, in name order, from those of this rank's trained tensors in the order
  // of its layout. Collective.
  std::vector<float> Largest(const std::vector<float>& mine) const;

 private:
  // Which of a tensor a rank keeps: of its part by tp, elements [first, first + count).
  struct Kept {
    int32_t tensor;
    int64_t first, count;
  };
  // Sums of squares of a tensor's pieces: those that this rank makes, and which of Mesh::cutters() adds up
  // the tensor's.
  struct Pieces {
    int32_t tensor = 0;
    int owner = 0;
    std::vector<double> mine = {};
    // Of all ranks, by their number, where this one is the owner.
    std::vector<IndexRange> of_ranks = {};
  };
  // Of a tensor that this rank has. Collective of the ranks that have parts of it.
  Pieces PiecesOf(const LayoutEntry& entry, int32_t tensor, const float* gradient) const;
  struct Squares {
    int64_t tensor;
    double sum;
  };
  // Of the tensors whose owner this rank is. Collective of Mesh::cutters().
  std::vector<Squares> AddUp(const std::vector<Pieces>& tensors) const;

  const CausalLm& model_;
  std::vector<const LayoutEntry*> all_;  // of the policy, whole
  std::vector<int32_t> mine_;            // of each trained tensor of this rank's layout its place in all_
  std::vector<std::vector<Kept>> kept_;  // of each of Mesh::cutters(), by tensor, where it keeps any of it
};

}  // namespace temper
