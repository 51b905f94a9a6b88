// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/whole_leaves.h"

#include <utility>

#include "kernels/backend.h"
#include "trainer/update/tied_head.h"

namespace temper {

WholeLeaves::WholeLeaves(CausalLm* model, const kernels::QuantaRule& rule)
    : model_(*model),
      ranks_(model->mesh().sizes().ep),
      others_(&model->backend(),
              model->weights().TrainedFloats() - (ExpertsAreApart() ? model->weights().ExpertFloats() : 0),
              rule),
      experts_(&model->backend(), model->weights().ExpertFloats(), rule) {}

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
  const Weights& weights = model_.weights();
  if (!ExpertsAreApart()) return {Zeros(weights.GradientFloats(), &others_), {}};
  Leaf leaf{Zeros(weights.GradientFloats() - weights.ExpertFloats(), &others_), {}};
  for (int64_t rank = 0; rank < ranks_; ++rank)
    leaf.experts.push_back(Zeros(weights.ExpertFloats(), &experts_));
  return leaf;
}

void WholeLeaves::BindTo(const Leaf& leaf) {
  float* const others = static_cast<float*>(leaf.others.get());
  if (!ExpertsAreApart()) return model_.weights().BindGradients(others);
  std::vector<float*> experts;
  for (const std::shared_ptr<void>& of_rank : leaf.experts)
    experts.push_back(static_cast<float*>(of_rank.get()));
  model_.weights().BindGradients(others, experts);
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
  if (turn.is_long) {
    while (!others_.has_halves()) PushZeros();
    const SumPlace experts{experts_.halves(), experts_.in_range()};
    const SumPlace others{others_.halves(), others_.in_range()};
    return model_.weights().BindSums(others, ExpertsAreApart() ? experts : SumPlace());
  }
  Leaf& leaf = leaves_[turn.leaf];
  if (leaf.others == nullptr) leaf = NewLeaf();
  BindTo(leaf);
}

void WholeLeaves::EndLeaf(int64_t number) {
  if (leaves_.count(number) == 0) return;  // a long sequence
  Leaf leaf = std::move(leaves_.extract(number).mapped());
  BindTo(leaf);
  AddHeadGradient(&model_);
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
    const int64_t trained = model_.weights().TrainedFloats(), last = model_.weights().ExpertFloats();
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

}  // namespace temper
