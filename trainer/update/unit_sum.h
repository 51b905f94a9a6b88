// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/communicator.h"
#include "kernels/backend.h"
#include "model/causal_lm.h"

namespace temper {

// GradientSum of weights that ranks share out (mesh.dp_shard): of each unit every rank keeps the sums of its
// share, as integers. A leaf of one microbatch is made unit by unit, in memory of the size of one; a leaf of
// more has its whole gradient until its last.
class UnitSum final : public UnitGradients {
 public:
  // Both outlive it. `ranks` share the weights out.
  UnitSum(Weights* weights, const kernels::QuantaRule& rule, Communicator* ranks);

  // All ranks begin their leaves together. `microbatches`: of this rank's, 0 where it has none.
  void BeginLeaf(int64_t microbatches);
  // Before each microbatch: whether it is the leaf's last, and so on every rank. What that leaves on the way
  // back is summed at once.
  void BeginMicrobatch(bool last) { last_ = last; }
  float* Begin(int64_t unit) override;
  void End(int64_t unit) override;

  // Collective, of the ranks that keep the same share: the gradient of it, flat by the layout. The sum is
  // empty again. in_range() is of what this rank counted since the last one.
  std::shared_ptr<void> Take(Communicator& replicas);
  bool in_range() const { return in_range_; }

  // Of the memory that it holds between leaves, which is what it takes at most but for what Take gives away.
  int64_t bytes() const;

 private:
  // A tied head's own part is added to the embedding's, which comes after it.
  int64_t FloatsOf(int64_t unit) const;

  Weights& weights_;
  const kernels::QuantaRule rule_;
  Communicator& ranks_;
  std::vector<int64_t> first_;  // of each unit, in a buffer of all of them
  int64_t all_ = 0, largest_ = 0;
  std::shared_ptr<void> unit_, leaf_, head_;
  bool several_ = false, last_ = false, in_range_ = true;
  std::vector<int64_t> sums_;  // of this rank's share
};

}  // namespace temper
