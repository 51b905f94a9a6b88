// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "trainer/update/leaf_gradients.h"

namespace temper {

// LeafGradients of weights that ranks share out (Mesh::sharers): of each unit every rank keeps the sums of
// its share, as integers. A unit's gradient is there whole from its first microbatch of a leaf to its last,
// so that of a leaf of one microbatch there is but one unit's at a time.
class UnitLeaves final : public LeafGradients, public UnitGradients {
 public:
  UnitLeaves(CausalLm* model, const kernels::QuantaRule& rule);

  void Expect(int64_t values) override { rule_.leaves = values; }
  void Bind(const LeafTurn& turn) override;
  Buffers Begin(int64_t unit) override;
  void End(int64_t unit) override;
  void EndLeaf(int64_t leaf) override;
  std::shared_ptr<void> Take() override;
  void GiveBack(std::shared_ptr<void>) override {}
  void Free() override;

 private:
  // Whether each leaf that rows of experts come from is added as soon as its gradient of a weight is made:
  // one that is a microbatch needs no memory of its own.
  bool AddsExperts() const { return turn_.only && model_.mesh().sizes().ep > 1; }
  // Of `n` numbers, in twice as many floats.
  SumPlace SumIn(float* halves, int64_t n);
  int64_t FloatsOf(int64_t unit) const;
  // All sums are 0, in memory that is there from the first time on, and is the gradient's in between.
  void ClearSums();
  // A part of a unit's gradient, of which each rank keeps its share, at `offset` of the sums.
  void AddShares(const LayoutUnit::Half& part, absl::Span<const kernels::LeafSum> of_leaves);
  void TakePart(const LayoutUnit::Half& part, Communicator& ranks);

  CausalLm& model_;
  Weights& weights_;
  kernels::QuantaRule rule_;
  LeafTurn turn_;
  std::optional<TokenRows> rows_;  // see Buffers
  UnitMemory memory_;
  std::map<std::pair<int64_t, int64_t>, UnitMemory::Piece> made_;  // by leaf and unit
  std::shared_ptr<void> sums_memory_;
  int64_t* sums_ = nullptr;  // of this rank's share, flat by the layout; null: none were added
  bool in_range_ = true;
};

}  // namespace temper
