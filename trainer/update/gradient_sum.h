// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

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

  // A leaf, in the backend's memory. Memory that the sum has no use for goes to `spare`.
  void Push(std::shared_ptr<void> leaf);
  bool empty() const { return sum_.empty(); }

  // How many leaves may be added until Take.
  void set_leaves(int64_t leaves) { sum_.rule.leaves = leaves; }
  // Of two leaves or more: the sum, to which others add; and whether all that was added is in range.
  bool has_halves() const { return sum_.second != nullptr; }
  const kernels::LeafSum& halves() const { return sum_; }
  bool* in_range() { return &in_range_; }

  // Collective, after one Push or more: the first leaf's memory, with the gradient in it; null where a value
  // on any rank was out of range. The sum is empty again, and other memory is in `spare`.
  std::shared_ptr<void> Take(Communicator& ranks);

  // What leaves may be made in: a large model's memory is faulted in once, not at every update.
  std::vector<std::shared_ptr<void>>& spare() { return spare_; }

 private:
  void TakeFromRanks(Communicator& ranks);

  kernels::Backend& backend_;
  kernels::LeafSum sum_;
  std::shared_ptr<void> first_, second_;  // of sum_
  std::vector<std::shared_ptr<void>> spare_;
  bool in_range_ = true;
};

}  // namespace temper
