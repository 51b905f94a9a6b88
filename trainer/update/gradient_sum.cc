// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/gradient_sum.h"

#include <utility>
#include <vector>

#include "comm/reduce.h"
#include "core/check.h"

namespace temper {

void GradientSum::Push(std::shared_ptr<void> leaf) {
  float* const numbers = static_cast<float*>(leaf.get());
  if (empty()) {
    first_ = std::move(leaf);
    sum_.first = numbers;
    return;
  }
  in_range_ &= backend_.AddLeaf(numbers, &sum_);
  if (sum_.second == numbers) {
    second_ = std::move(leaf);
  } else {
    spare_.push_back(std::move(leaf));
  }
}

std::shared_ptr<void> GradientSum::Take(Communicator& ranks) {
  TEMPER_CHECK(!empty(), "no leaf was pushed");
  if (ranks.size() == 1) {
    in_range_ &= backend_.RoundGradient(sum_);
  } else if (DeviceRanks* const device = ranks.device()) {
    in_range_ &= backend_.RoundGradientAcross(
        sum_, [device](int64_t* quanta, int64_t count) { device->SumIntegers(quanta, count); });
  } else {
    TakeFromRanks(ranks);
  }
  const bool all_in_range = ranks.Sum(in_range_ ? 0 : 1) == 0;
  std::shared_ptr<void> gradient = std::move(first_);
  if (second_ != nullptr) spare_.push_back(std::move(second_));
  sum_.first = sum_.second = nullptr;
  in_range_ = true;
  if (all_in_range) return gradient;
  spare_.push_back(std::move(gradient));
  return nullptr;
}

void GradientSum::TakeFromRanks(Communicator& ranks) {
  // Where the memory is the host's the sums of this rank's share, which no other asks for any more, are
  // written over what they were made of.
  std::vector<float> staged(backend_.host_memory() ? 0 : sum_.n);
  float* const gradient = backend_.host_memory() ? sum_.first : staged.data();
  SumIntegers(
      sum_.n,
      [&](int64_t begin, absl::Span<int64_t> sums) { in_range_ &= backend_.AddQuanta(sum_, begin, sums); },
      [&](int64_t begin, absl::Span<const int64_t> sums) {
        backend_.pool().ParallelFor(static_cast<int64_t>(sums.size()), 1 << 14, [&](int64_t i, int64_t end) {
          kernels::FromQuanta(sum_.rule.bits, sums.subspan(i, end - i), gradient + begin + i);
        });
      },
      ranks);
  GatherShares(gradient, sum_.n, ranks);
  if (!backend_.host_memory()) backend_.CopyFromHost(gradient, kernels::F32(sum_.first, 1, sum_.n));
}

}  // namespace temper
