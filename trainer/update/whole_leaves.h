// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "trainer/update/gradient_sum.h"
#include "trainer/update/leaf_gradients.h"

namespace temper {

// LeafGradients on a rank that has its weights whole: a leaf's gradient lies whole in the backend's memory
// until the leaf ends.
class WholeLeaves final : public LeafGradients {
 public:
  WholeLeaves(CausalLm* model, const kernels::QuantaRule& rule);

  void Expect(int64_t values) override;
  void Bind(const LeafTurn& turn) override;
  void EndLeaf(int64_t leaf) override;
  std::shared_ptr<void> Take() override;
  void GiveBack(std::shared_ptr<void> gradient) override;

 private:
  // Where experts are apart: of each rank's leaf theirs, and of this rank's all else.
  struct Leaf {
    std::shared_ptr<void> others;
    std::vector<std::shared_ptr<void>> experts;
  };
  bool ExpertsAreApart() const { return ranks_ > 1 && model_.weights().ExpertFloats() > 0; }
  // All zeros.
  Leaf NewLeaf();
  // `floats` zeros, in spare memory of the sum's.
  std::shared_ptr<void> Zeros(int64_t floats, GradientSum* sum);
  void BindTo(const Leaf& leaf);
  // Of a leaf that is not there.
  void PushZeros();

  CausalLm& model_;
  const int64_t ranks_;  // of mesh.ep
  GradientSum others_, experts_;
  std::map<int64_t, Leaf> leaves_;  // that are on their way
};

}  // namespace temper
