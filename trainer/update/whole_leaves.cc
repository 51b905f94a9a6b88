// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/whole_leaves.h"

#include <utility>

#include "kernels/backend.h"
#include "trainer/update/tied_head.h"

namespace temper {

WholeLeaves::WholeLeaves(CausalLm* model, const kernels::QuantaRule& rule)
    : model_(*model),
      weights_(model->weights()),
      ranks_(model->mesh().sizes().ep),
      others_(&model->backend(), OthersFloats(), rule),
      experts_(&model->backend(), weights_.ExpertFloats(), rule),
      memory_(&model->backend()) {
  if (HasHeadBeside(model_)) rows_.emplace(weights_.head().n(), weights_.head().k(), &model->backend());
}

int64_t WholeLeaves::OthersFloats() const {
  return weights_.TrainedFloats() - (ExpertsAreApart() ? weights_.ExpertFloats() : 0);
}

std::shared_ptr<void> WholeLeaves::Zeros(int64_t floats, GradientSum* sum) {
  std::shared_ptr<void> memory;
  if (sum->spare().empty()) {
    memory = model_.backend().Allocate(floats * 4);
  } else {
    memory = std::move(sum->spare().back());
    sum->spare().pop_back();
  }
  model_.backend().Zero(kernels::F32(static_cast<float*>(memory.get()), 1, floats));
  return memory;
}

WholeLeaves::Leaf WholeLeaves::NewLeaf() {
  Leaf leaf{Zeros(OthersFloats(), &others_)};
  for (int64_t rank = 0; rank < ranks_ && ExpertsAreApart(); ++rank)
    leaf.experts.push_back(Zeros(weights_.ExpertFloats(), &experts_));
  return leaf;
}

SumPlace WholeLeaves::SumOf(GradientSum* sum, int64_t first, int64_t n) {
  return SumPlace{sum->halves(), sum->in_range()}.Part(first, n);
}

void WholeLeaves::Expect(int64_t values) {
  others_.set_leaves(values);
  experts_.set_leaves(values);
}

void WholeLeaves::PushZeros() {
  Leaf none = NewLeaf();
  others_.Push(std::move(none.others));
  for (std::shared_ptr<void>& of_rank : none.experts) experts_.Push(std::move(of_rank));
}

void WholeLeaves::Bind(const LeafTurn& turn) {
  turn_ = turn;
  weights_.BindGradients(this);
  if (turn.is_long) {
    while (!others_.has_halves()) PushZeros();
  } else if (leaves_.count(turn.leaf) == 0) {
    const bool by_units = turn.only && others_.has_halves() && SumOfExperts().has_halves();
    leaves_.emplace(turn.leaf, by_units ? Leaf() : NewLeaf());
  }
}

UnitGradients::Buffers WholeLeaves::Begin(int64_t unit) {
  if (unit == kTiedHead && (turn_.is_long || rows_)) {
    if (!rows_) return {};  // the first rank sums it
    Buffers of_embedding = Begin(weights_.embedding_unit());
    of_embedding.rows = nullptr;
    return of_embedding;
  }
  if (unit == kTiedHead) {
    UnitMemory::Piece& piece = leaves_.at(turn_.leaf).units[unit];
    if (!piece) piece = memory_.Zeros(weights_.head().n() * weights_.head().k());
    return {.others = piece.data()};
  }
  const LayoutUnit& of = weights_.parameters().layout().units()[unit];
  const int64_t first_expert = of.experts.offset - FirstOfExperts();
  if (turn_.is_long)
    return {.sums = SumOf(&others_, of.others.offset, of.others.elements),
            .expert_sums = SumOf(&SumOfExperts(), first_expert, of.experts.elements)};
  Leaf& leaf = leaves_.at(turn_.leaf);
  Buffers buffers;
  const auto floats = [](const std::shared_ptr<void>& memory) { return static_cast<float*>(memory.get()); };
  if (leaf.others == nullptr) {
    UnitMemory::Piece& piece = leaf.units[unit];
    if (!piece) piece = memory_.Zeros(of.others.elements + ranks_ * of.experts.elements);
    buffers.others = piece.data();
    for (int64_t rank = 0; rank < ranks_; ++rank)
      buffers.experts.push_back(piece.data() + of.others.elements + rank * of.experts.elements);
  } else {
    buffers.others = floats(leaf.others) + of.others.offset;
    for (const std::shared_ptr<void>& of_rank : leaf.experts)
      buffers.experts.push_back(floats(of_rank) + first_expert);
    if (!ExpertsAreApart()) buffers.experts.push_back(floats(leaf.others) + first_expert);
  }
  if (unit == weights_.embedding_unit() && rows_) buffers.rows = &*rows_;
  return buffers;
}

void WholeLeaves::End(int64_t unit) {
  if (!turn_.last || turn_.is_long || unit == kTiedHead) return;
  if (unit == weights_.embedding_unit()) AddHeadGradient(&model_);
  Leaf& leaf = leaves_.at(turn_.leaf);
  if (leaf.others != nullptr) return;
  const Buffers made = Begin(unit);
  const LayoutUnit& of = weights_.parameters().layout().units()[unit];
  const auto add = [this](const SumPlace& place, float* numbers) {
    if (place.sum.n > 0) place.Add(model_.backend(), kernels::F32(numbers, 1, place.sum.n));
  };
  add(SumOf(&others_, of.others.offset, of.others.elements), made.others);
  for (float* of_leaf : made.experts)
    add(SumOf(&SumOfExperts(), of.experts.offset - FirstOfExperts(), of.experts.elements), of_leaf);
  memory_.GiveBack(std::move(leaf.units.extract(unit).mapped()));
}

void WholeLeaves::EndLeaf(int64_t number) {
  if (leaves_.count(number) == 0) return;  // a long sequence
  Leaf leaf = std::move(leaves_.extract(number).mapped());
  for (auto& [unit, piece] : leaf.units) memory_.GiveBack(std::move(piece));  // the tied head's
  if (leaf.others == nullptr) return;
  others_.Push(std::move(leaf.others));
  for (std::shared_ptr<void>& of_rank : leaf.experts) experts_.Push(std::move(of_rank));
}

std::shared_ptr<void> WholeLeaves::Take() {
  const Mesh& mesh = model_.mesh();
  if (others_.empty()) PushZeros();  // this rank had none
  std::shared_ptr<void> others = others_.Take(mesh.keepers());
  if (!ExpertsAreApart()) return others;
  std::shared_ptr<void> experts = experts_.Take(mesh.axis(Axis::kDpReplicate));
  const bool in_range = others != nullptr && experts != nullptr;
  std::shared_ptr<void> all;
  if (mesh.axis(Axis::kEp).Sum(in_range ? 0 : 1) == 0) {
    const int64_t trained = weights_.TrainedFloats(), last = weights_.ExpertFloats();
    all = model_.backend().Allocate(trained * 4);
    const Matrix to = kernels::F32(static_cast<float*>(all.get()), trained, 1);
    model_.backend().Copy(kernels::F32(static_cast<float*>(others.get()), trained - last, 1),
                          to.Rows(0, trained - last));
    model_.backend().Copy(kernels::F32(static_cast<float*>(experts.get()), last, 1),
                          to.Rows(trained - last, last));
  }
  if (others != nullptr) others_.spare().push_back(std::move(others));
  if (experts != nullptr) experts_.spare().push_back(std::move(experts));
  return all;
}

void WholeLeaves::GiveBack(std::shared_ptr<void> gradient) {
  if (gradient != nullptr && !ExpertsAreApart()) others_.spare().push_back(std::move(gradient));
}

void WholeLeaves::Free() {
  others_.spare().clear();
  experts_.spare().clear();
  memory_.Free();
  if (rows_) rows_.emplace(weights_.head().n(), weights_.head().k(), &model_.backend());
}

}  // namespace temper
