// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/unit_leaves.h"

#include <algorithm>

#include "comm/reduce.h"
#include "kernels/backend.h"
#include "trainer/update/tied_head.h"

namespace temper {

UnitLeaves::UnitLeaves(CausalLm* model, const kernels::QuantaRule& rule)
    : model_(*model), weights_(model->weights()), rule_(rule), memory_(&model->backend()) {
  if (HasHeadBeside(model_)) rows_.emplace(weights_.head().n(), weights_.head().k(), &model->backend());
  weights_.BindGradients(this);
}

int64_t UnitLeaves::FloatsOf(int64_t unit) const {
  if (unit == kTiedHead) return weights_.head().n() * weights_.head().k();
  const LayoutUnit& of = weights_.parameters().layout().units()[unit];
  return of.others.elements + (AddsExperts() ? 2 : model_.mesh().sizes().ep) * of.experts.elements;
}

void UnitLeaves::ClearSums() {
  const int64_t n = weights_.TrainedFloats();
  if (sums_memory_ == nullptr)
    sums_memory_ = weights_.backend().Allocate(n * static_cast<int64_t>(sizeof(int64_t)));
  sums_ = static_cast<int64_t*>(sums_memory_.get());
  weights_.backend().Zero(kernels::F32(reinterpret_cast<float*>(sums_), 1, 2 * n));
}

void UnitLeaves::Bind(const LeafTurn& turn) { turn_ = turn; }

SumPlace UnitLeaves::SumIn(float* halves, int64_t n) {
  return {{.rule = rule_, .n = n, .first = halves, .second = halves + n}, &in_range_};
}

UnitGradients::Buffers UnitLeaves::Begin(int64_t unit) {
  if (turn_.is_long) {
    if (unit == kTiedHead && model_.stack().pipeline().size() > 1) return {};  // the first rank sums it
    if (unit == kTiedHead) unit = weights_.embedding_unit();
    const LayoutUnit& of = weights_.parameters().layout().units()[unit];
    UnitMemory::Piece& piece = made_[{turn_.leaf, unit}];
    if (!piece) piece = memory_.Zeros(2 * of.trained_elements());
    float* const halves = piece.data();
    return {.sums = SumIn(halves, of.others.elements),
            .expert_sums = SumIn(halves + 2 * of.others.elements, of.experts.elements)};
  }
  if (unit == kTiedHead && rows_) return {.others = Begin(weights_.embedding_unit()).others};
  UnitMemory::Piece& piece = made_[{turn_.leaf, unit}];
  if (!piece) piece = memory_.Zeros(FloatsOf(unit));
  Buffers buffers{piece.data()};
  if (unit == kTiedHead) return buffers;
  if (unit == weights_.embedding_unit() && rows_) buffers.rows = &*rows_;
  const LayoutUnit& of = weights_.parameters().layout().units()[unit];
  float* const experts = buffers.others + of.others.elements;
  if (AddsExperts()) {
    buffers.expert_sums = SumIn(experts, of.experts.elements);
    return buffers;
  }
  for (int64_t rank = 0; rank < model_.mesh().sizes().ep && of.experts.elements > 0; ++rank)
    buffers.experts.push_back(experts + rank * of.experts.elements);
  return buffers;
}

void UnitLeaves::End(int64_t unit) {
  if (!turn_.last || unit == kTiedHead) return;
  if (unit == weights_.embedding_unit() && !turn_.is_long) AddHeadGradient(&model_);
  const Buffers made = Begin(unit);
  const LayoutUnit& of = weights_.parameters().layout().units()[unit];
  std::vector<kernels::LeafSum> experts;
  for (float* of_leaf : made.experts)
    experts.push_back({.rule = rule_, .n = of.experts.elements, .first = of_leaf});
  if (experts.empty()) experts.push_back(made.expert_sums.sum);
  AddShares(of.others,
            {turn_.is_long ? made.sums.sum : kernels::LeafSum{rule_, of.others.elements, made.others}});
  AddShares(of.experts, experts);
  memory_.GiveBack(std::move(made_.extract({turn_.leaf, unit}).mapped()));
}

void UnitLeaves::AddShares(const LayoutUnit::Half& part, absl::Span<const kernels::LeafSum> of_leaves) {
  if (part.elements == 0) return;
  Communicator& ranks = model_.mesh().sharers();
  const int64_t share = ShareOf(part.elements, ranks.rank(), ranks.size()).begin;
  if (sums_ == nullptr) ClearSums();
  SumIntegers(
      part.elements,
      [&](int64_t begin, absl::Span<int64_t> sums) {
        for (const kernels::LeafSum& leaf : of_leaves)
          in_range_ &= weights_.backend().AddQuanta(leaf, begin, sums);
      },
      [&](int64_t begin, absl::Span<const int64_t> sums) {
        if (sums.empty()) return;
        int64_t* const to = sums_ + part.offset + begin - share;
        for (size_t i = 0; i < sums.size(); ++i) to[i] += sums[i];
      },
      ranks);
}

void UnitLeaves::EndLeaf(int64_t leaf) {
  const auto head = made_.find({leaf, kTiedHead});
  if (head == made_.end()) return;
  memory_.GiveBack(std::move(head->second));
  made_.erase(head);
}

std::shared_ptr<void> UnitLeaves::Take() {
  const Mesh& mesh = model_.mesh();
  const bool in_range = mesh.dp().Sum(in_range_ ? 0 : 1) == 0;
  in_range_ = true;
  const int64_t n = weights_.TrainedFloats(), experts = weights_.ExpertFloats();
  if (sums_ == nullptr) ClearSums();
  TakePart({n - experts, 0}, mesh.keepers());
  TakePart({experts, n - experts}, mesh.axis(Axis::kDpReplicate));
  sums_ = nullptr;
  return in_range ? sums_memory_ : nullptr;
}

void UnitLeaves::Free() {
  sums_memory_.reset();
  memory_.Free();
  if (rows_) rows_.emplace(weights_.head().n(), weights_.head().k(), &model_.backend());
}

// The gradient is made where the sums lie, of half their size: first each number at the beginning of its sum,
// which nobody asks for any more, then one behind the other.
void UnitLeaves::TakePart(const LayoutUnit::Half& part, Communicator& ranks) {
  float* const gradient = static_cast<float*>(sums_memory_.get());
  std::vector<float> made;
  SumIntegers(
      part.elements,
      [&](int64_t begin, absl::Span<int64_t> sums) {
        for (size_t i = 0; i < sums.size(); ++i)
          sums[i] += sums_[part.offset + begin + static_cast<int64_t>(i)];
      },
      [&](int64_t begin, absl::Span<const int64_t> sums) {
        made.resize(sums.size());
        kernels::FromQuanta(rule_.bits, sums, made.data());
        for (size_t i = 0; i < made.size(); ++i)
          gradient[2 * (part.offset + begin + static_cast<int64_t>(i))] = made[i];
      },
      ranks);
  const Share mine = ShareOf(part.elements, ranks.rank(), ranks.size());
  for (int64_t i = mine.begin; i < mine.end && !ranks.counts_only(); ++i)
    gradient[part.offset + i] = gradient[2 * (part.offset + i)];
  GatherShares(gradient + part.offset, part.elements, ranks);
}

}  // namespace temper
