// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "trainer/update/gradient_sum.h"
#include "trainer/update/leaf_gradients.h"

namespace temper {

// LeafGradients on a rank that has its weights whole. The first leaf lies whole where it is made, and the
// second, so that they become the sum of both; another one too if it has several microbatches. Of one that is
// a microbatch there is but one unit's gradient at a time, which is added before the next is made.
class WholeLeaves final : public LeafGradients, public UnitGradients {
 public:
  WholeLeaves(CausalLm* model, const kernels::QuantaRule& rule);

  void Expect(int64_t values) override;
  void Bind(const LeafTurn& turn) override;
  Buffers Begin(int64_t unit) override;
  void End(int64_t unit) override;
  void EndLeaf(int64_t leaf) override;
  std::shared_ptr<void> Take() override;
  void GiveBack(std::shared_ptr<void> gradient) override;
  void Free() override;

 private:
  // Where experts are apart: of each rank's leaf theirs, and of this rank's all else; each flat by the
  // layout.
  struct Leaf {
    std::shared_ptr<void> others;  // null: its units are apart
    std::vector<std::shared_ptr<void>> experts = {};
    std::map<int64_t, UnitMemory::Piece> units = {};  // and a tied head's own part
  };
  bool ExpertsAreApart() const { return ranks_ > 1 && weights_.ExpertFloats() > 0; }
  // Of the others' flat numbers, and the first of the experts' among the layout's.
  int64_t OthersFloats() const;
  int64_t FirstOfExperts() const { return ExpertsAreApart() ? OthersFloats() : 0; }
  // All zeros.
  Leaf NewLeaf();
  // `floats` zeros, in spare memory of the sum's.
  std::shared_ptr<void> Zeros(int64_t floats, GradientSum* sum);
  GradientSum& SumOfExperts() { return ExpertsAreApart() ? experts_ : others_; }
  // The sums of a part of a unit, once there are halves.
  SumPlace SumOf(GradientSum* sum, int64_t first, int64_t n);
  // Of a leaf that is not there.
  void PushZeros();

  CausalLm& model_;
  Weights& weights_;
  const int64_t ranks_;  // of mesh.ep
  GradientSum others_, experts_;
  LeafTurn turn_;
  std::map<int64_t, Leaf> leaves_;  // that are on their way
  UnitMemory memory_;
  std::optional<TokenRows> rows_;  // see Buffers
};

}  // namespace temper
