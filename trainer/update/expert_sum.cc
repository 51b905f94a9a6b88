// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/expert_sum.h"

#include <utility>

#include "kernels/backend.h"

namespace temper {

ExpertSum::ExpertSum(CausalLm* model, const kernels::QuantaRule& rule)
    : model_(*model),
      others_(&model->backend(), model->weights().TrainedFloats() - model->weights().ExpertFloats(), rule),
      experts_(&model->backend(), model->weights().ExpertFloats(), rule) {}

std::shared_ptr<void> ExpertSum::Zeros(int64_t floats, GradientSum* sum) {
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

void ExpertSum::BeginLeaf() {
  Weights& weights = model_.weights();
  other_ = Zeros(weights.GradientFloats() - weights.ExpertFloats(), &others_);
  leaves_.clear();
  std::vector<float*> of_ranks;
  for (int64_t rank = 0; rank < model_.mesh().sizes().ep; ++rank) {
    leaves_.push_back(Zeros(weights.ExpertFloats(), &experts_));
    of_ranks.push_back(static_cast<float*>(leaves_.back().get()));
  }
  weights.BindGradients(static_cast<float*>(other_.get()), of_ranks);
}

void ExpertSum::EndLeaf() {
  model_.weights().FoldTiedHead();
  others_.Push(std::move(other_));
  for (std::shared_ptr<void>& leaf : leaves_) experts_.Push(std::move(leaf));
}

std::shared_ptr<void> ExpertSum::Take() {
  const Mesh& mesh = model_.mesh();
  if (others_.empty()) {
    BeginLeaf();
    EndLeaf();
  }
  std::shared_ptr<void> others = others_.Take(mesh.dp());
  std::shared_ptr<void> experts = experts_.Take(mesh.axis(Axis::kDpReplicate));
  const bool in_range = others != nullptr && experts != nullptr;
  std::shared_ptr<void> all;
  if (mesh.axis(Axis::kEp).Sum(in_range ? 0 : 1) == 0) {
    kernels::Backend& backend = model_.backend();
    all = backend.Allocate(model_.weights().TrainedFloats() * 4);
    const float* next_other = static_cast<const float*>(others.get());
    const float* next_expert = static_cast<const float*>(experts.get());
    for (const LayoutEntry& entry : model_.parameters().layout().entries()) {
      if (!entry.trained) continue;
      const float*& next = entry.expert >= 0 ? next_expert : next_other;
      backend.Copy(kernels::F32(next, 1, entry.elements),
                   kernels::F32(static_cast<float*>(all.get()) + entry.offset, 1, entry.elements));
      next += entry.elements;
    }
  }
  if (others != nullptr) others_.spare().push_back(std::move(others));
  if (experts != nullptr) experts_.spare().push_back(std::move(experts));
  return all;
}

}  // namespace temper
