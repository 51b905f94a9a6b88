// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/causal_lm.h"

namespace temper {

// Figures of each tensor that is trained, of the whole policy, of which a rank may have some, and parts of
// some: the same on all ranks, and those of one rank.
class TensorFigures {
 public:
  // The policy outlives it.
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
  // Of a tensor that ranks share how many pieces it has; adds the sums of those that are this rank's to sum
  // up.
  int64_t SharedSquares(const LayoutEntry& entry, const float* gradient, std::vector<double>* squares) const;

  const CausalLm& model_;
  std::vector<std::string> names_;
  std::vector<int32_t> mine_;  // of each trained tensor of this rank's layout its place in names_
};

}  // namespace temper
