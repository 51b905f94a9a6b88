// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/unit_sum.h"

#include <algorithm>

#include "comm/reduce.h"
#include "core/check.h"

namespace temper {

UnitSum::UnitSum(Weights* weights, const kernels::QuantaRule& rule, Communicator* ranks)
    : weights_(*weights), rule_(rule), ranks_(*ranks) {
  for (const LayoutUnit& unit : weights_.parameters().layout().units()) {
    first_.push_back(all_);
    all_ += unit.trained_elements;
    largest_ = std::max(largest_, unit.trained_elements);
  }
  weights_.BindGradients(this);
}

int64_t UnitSum::FloatsOf(int64_t unit) const {
  if (unit == kTiedHead) return weights_.head().n() * weights_.head().k();
  return weights_.parameters().layout().units()[unit].trained_elements;
}

void UnitSum::BeginLeaf(int64_t microbatches) {
  kernels::Backend& backend = weights_.backend();
  several_ = microbatches > 1;
  if (unit_ == nullptr) unit_ = backend.Allocate(largest_ * 4);
  const bool tied = weights_.head_gradient_unit() == kTiedHead;
  if (tied && head_ == nullptr) head_ = backend.Allocate(FloatsOf(kTiedHead) * 4);
  if (tied) backend.Zero(kernels::F32(static_cast<float*>(head_.get()), 1, FloatsOf(kTiedHead)));
  if (!several_) return;
  if (leaf_ == nullptr) leaf_ = backend.Allocate(all_ * 4);
  backend.Zero(kernels::F32(static_cast<float*>(leaf_.get()), 1, all_));
}

int64_t UnitSum::bytes() const {
  return (unit_ == nullptr ? 0 : largest_ * 4) + (leaf_ == nullptr ? 0 : all_ * 4) +
         (head_ == nullptr ? 0 : FloatsOf(kTiedHead) * 4) +
         static_cast<int64_t>(sums_.size() * sizeof(int64_t));
}

float* UnitSum::Begin(int64_t unit) {
  if (unit == kTiedHead) return static_cast<float*>(head_.get());
  if (several_) return static_cast<float*>(leaf_.get()) + first_[unit];
  float* const floats = static_cast<float*>(unit_.get());
  if (last_) weights_.backend().Zero(kernels::F32(floats, 1, FloatsOf(unit)));
  return floats;
}

void UnitSum::End(int64_t unit) {
  if (!last_ || unit == kTiedHead) return;
  if (unit == weights_.embedding_unit()) weights_.FoldTiedHead();
  const LayoutUnit& of = weights_.parameters().layout().units()[unit];
  const int64_t n = of.trained_elements, share = ShareOf(n, ranks_.rank(), ranks_.size()).begin;
  if (!ranks_.counts_only()) sums_.resize(weights_.TrainedFloats());
  float* const made =
      several_ ? static_cast<float*>(leaf_.get()) + first_[unit] : static_cast<float*>(unit_.get());
  const kernels::LeafSum leaf = {.rule = rule_, .n = n, .first = made};
  SumIntegers(
      n,
      [&](int64_t begin, absl::Span<int64_t> sums) {
        in_range_ &= weights_.backend().AddQuanta(leaf, begin, sums);
      },
      [&](int64_t begin, absl::Span<const int64_t> sums) {
        if (sums.empty()) return;
        int64_t* const to = sums_.data() + of.offset + begin - share;
        for (size_t i = 0; i < sums.size(); ++i) to[i] += sums[i];
      },
      ranks_);
}

std::shared_ptr<void> UnitSum::Take(Communicator& replicas) {
  const int64_t n = weights_.TrainedFloats();
  sums_.resize(n);
  std::shared_ptr<void> memory = weights_.backend().Allocate(n * 4);
  float* const gradient = static_cast<float*>(memory.get());
  SumIntegers(
      n,
      [&](int64_t begin, absl::Span<int64_t> sums) {
        for (size_t i = 0; i < sums.size(); ++i) sums[i] += sums_[begin + static_cast<int64_t>(i)];
      },
      [&](int64_t begin, absl::Span<const int64_t> sums) {
        kernels::FromQuanta(rule_.bits, sums, gradient + begin);
      },
      replicas);
  GatherShares(gradient, n, replicas);
  std::fill(sums_.begin(), sums_.end(), 0);
  in_range_ = true;
  return memory;
}

}  // namespace temper
