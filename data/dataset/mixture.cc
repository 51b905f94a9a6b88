// SPDX-License-Identifier: Apache-2.0
#include "data/dataset/mixture.h"

#include <utility>

#include "core/check.h"
#include "core/random.h"

namespace temper {

Mixture::Mixture(std::vector<double> weights, uint64_t key)
    : weights_(std::move(weights)), key_(key), counts_(weights_.size(), 0) {
  TEMPER_CHECK(!weights_.empty(), "a mixture of nothing");
  double sum = 0;
  for (double weight : weights_) sum += weight;
  for (double& weight : weights_) weight /= sum;
}

int Mixture::SourceOf(int64_t position) const {
  if (weights_.size() == 1) return 0;
  double place = Uniform(key_, static_cast<uint32_t>(position >> 32), static_cast<uint32_t>(position),
                         Purpose::kShuffle, /*draw=*/1);
  for (size_t s = 0; s + 1 < weights_.size(); ++s) {
    if (place < weights_[s]) return static_cast<int>(s);
    place -= weights_[s];
  }
  return static_cast<int>(weights_.size()) - 1;
}

Mixture::Place Mixture::At(int64_t position) {
  if (weights_.size() == 1) return {0, position};
  if (position < position_) {
    counts_.assign(weights_.size(), 0);
    position_ = 0;
  }
  for (; position_ < position; ++position_) ++counts_[SourceOf(position_)];
  const int source = SourceOf(position);
  return {source, counts_[source]};
}

}  // namespace temper
