// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace temper {

// An endless stream out of several sources: each position takes its source by a draw of its own, in
// proportion to the weights, and of that source the next item. A function of (weights, key, position), so a
// stream goes on anywhere exactly. One thread.
class Mixture {
 public:
  // Weights are positive; one or more.
  Mixture(std::vector<double> weights, uint64_t key);

  struct Place {
    int source = 0;
    int64_t index = 0;  // how many items of that source came before
  };
  // Going on from the last position asked costs one draw, going back a draw for each position before it.
  Place At(int64_t position);

 private:
  int SourceOf(int64_t position) const;

  std::vector<double> weights_;
  uint64_t key_;
  int64_t position_ = 0;  // counts_ are of the positions before it
  std::vector<int64_t> counts_;
};

}  // namespace temper
