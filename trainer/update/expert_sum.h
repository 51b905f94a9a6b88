// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "model/causal_lm.h"
#include "trainer/update/gradient_sum.h"

namespace temper {

// GradientSum where rows come to a rank's experts from the ranks of mesh.ep, each of which has a leaf at
// hand: of each of these leaves the gradient of this rank's experts, and of its own that of all else. An
// expert's leaf is so the same chain as on one rank.
class ExpertSum {
 public:
  // The policy outlives it.
  ExpertSum(CausalLm* model, const kernels::QuantaRule& rule);

  // All ranks begin their leaves together, one that has none too, and end them so.
  void BeginLeaf();
  void EndLeaf();

  // Collective, of all ranks: the gradient, flat by the layout; null where a value was out of range on one of
  // those of dp_replicate and ep. The sum is empty again.
  std::shared_ptr<void> Take();

 private:
  // `floats` zeros, in spare memory of the sum's.
  std::shared_ptr<void> Zeros(int64_t floats, GradientSum* sum);

  CausalLm& model_;
  GradientSum others_, experts_;
  std::shared_ptr<void> other_;                // of this rank's leaf
  std::vector<std::shared_ptr<void>> leaves_;  // of each rank's leaf its experts'
};

}  // namespace temper
