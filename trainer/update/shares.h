// SPDX-License-Identifier: Apache-2.0
// Which rank trains which of an update's sequences: known of their lengths alone, so that every rank knows of
// all.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/mesh.h"
#include "trainer/update/loss.h"

namespace temper {

// An update's sequences by gradient leaf, each leaf in its canonical order.
using Leaves = std::vector<std::vector<const TrainSequence*>>;

// Whether a sequence's gradient is made in stretches (model/stretches.h), and ranks of mesh.cp share it.
// `long_tokens`: from how many tokens on; 0: none is.
inline bool IsLong(const TrainSequence& sequence, int64_t long_tokens) {
  return long_tokens > 0 && sequence.length() >= long_tokens;
}

// The leaves of each rank of Mesh::dp(), ascending: the largest go first, each to the ranks of mesh.cp with
// the fewest tokens, and of these to the one with the fewest in short sequences. It has those of its leaves;
// the long ones all of them share.
std::vector<std::vector<int64_t>> LeavesOfRanks(const Leaves& leaves, const Mesh& mesh, int64_t long_tokens);

// A long sequence: where it is in the leaves, and which rank of mesh.cp has its leaf.
struct LongSequence {
  int64_t leaf = 0;
  size_t index = 0;
  int owner = 0;
};
// Those that this rank and its neighbours of mesh.cp share, in the order of leaves.
std::vector<LongSequence> LongSequencesOf(const Leaves& leaves, const Mesh& mesh, int64_t long_tokens);

}  // namespace temper
