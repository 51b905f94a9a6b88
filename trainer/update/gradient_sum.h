// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "comm/communicator.h"
#include "kernels/backend.h"

namespace temper {

// The gradient of an update: the sum of its leaves over all ranks, as integers (kernels/gradient_sum.h), the
// same bits for any order of leaves, any number of ranks and any assignment of leaves to them. Takes the
// memory of two leaves at most, and of what is being pushed.
class GradientSum {
 public:
  // `numbers` floats of each leaf are added. The backend outlives the sum.
  GradientSum(kernels::Backend* backend, int64_t numbers, const kernels::QuantaRule& rule)
      : backend_(*backend), sum_{.rule = rule, .n = numbers} {}

  // A leaf, in the backend's memory. Memory that the sum has no use for comes back, or null.
  std::shared_ptr<void> Push(std::shared_ptr<void> leaf);
  bool empty() const { return sum_.empty(); }

  // Collective, after one Push or more: the first leaf's memory, with the gradient in it; null where a value
  // on any rank was out of range. The sum is empty again.
  std::shared_ptr<void> Take(Communicator& ranks);

 private:
  void TakeFromRanks(Communicator& ranks);

  kernels::Backend& backend_;
  kernels::LeafSum sum_;
  std::shared_ptr<void> first_, second_;  // of sum_
  bool in_range_ = true;
};

}  // namespace temper
