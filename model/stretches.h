// SPDX-License-Identifier: Apache-2.0
// How a long sequence is cut (docs/exactness.md): its gradient is made in stretches of whole spans of
// attention, each a chain of its own that is added as integers like a leaf, on any number of ranks; so ranks
// of mesh.cp may share them out.
#pragma once

#include <cstdint>
#include <vector>

#include "model/layout.h"

namespace temper {

inline constexpr int kStretches = 16;

// Where stretches begin in a sequence of so many positions, and where the last ends. Some may be empty.
std::vector<int64_t> StretchEdges(int64_t positions);

// The positions that a rank has, of 1, 2, 4 or 8 ranks that share a sequence: the first of 2 `ranks` groups
// of neighbouring stretches and the last are rank 0's, and so on, since the later a query is the more keys it
// sees. Ascending, none empty; neighbours are one.
std::vector<IndexRange> PositionsOf(int64_t positions, int rank, int ranks);

// Rows that a rank has of a long sequence, its stretches one behind another: edges[i] to edges[i + 1] are one
// stretch.
struct Stretches {
  std::vector<int64_t> edges = {0};

  int64_t count() const { return static_cast<int64_t>(edges.size()) - 1; }
};
Stretches StretchesOf(int64_t positions, int rank, int ranks);

}  // namespace temper
