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

  // All of them, in name order.
  const std::vector<std::string>& names() const { return names_; }
  // The sum of squares of a gradient, flat by the rank's layout: of each tensor as Backend::SumOfSquares over
  // the whole of it, then the tensors in their order. Collective.
  double SumOfSquares(const float* gradient) const;
  // The largest figure of each tensor in names(), from those of this rank's trained tensors in the order of
  // its layout. Collective.
  std::vector<float> Largest(const std::vector<float>& mine) const;

 private:
  // Which of a tensor a rank keeps: of its part by tp, elements [first, first + count).
  struct Kept {
    int32_t tensor;
    int64_t first, count;
  };
  // The sum of squares of a piece of a tensor.
  struct Piece {
    int32_t tensor;
    int64_t piece;
    double squares;
  };
  // Adds the pieces of a tensor that this rank sums up. Collective of the ranks that have parts of it.
  void AddPieces(const LayoutEntry& entry, int32_t tensor, const float* gradient,
                 std::vector<Piece>* pieces) const;

  const CausalLm& model_;
  std::vector<std::string> names_;
  std::vector<int32_t> mine_;            // of each trained tensor of this rank's layout its place in names_
  std::vector<std::vector<Kept>> kept_;  // of each of Mesh::cutters(), by tensor
};

}  // namespace temper
