// SPDX-License-Identifier: Apache-2.0
#include "model/stretches.h"

#include <algorithm>

#include "core/check.h"
#include "kernels/attention.h"

namespace temper {

std::vector<int64_t> StretchEdges(int64_t positions) {
  const int64_t spans = (positions + kernels::kAttentionSpan - 1) / kernels::kAttentionSpan;
  std::vector<int64_t> edges;
  for (int64_t i = 0; i <= kStretches; ++i)
    edges.push_back(std::min(positions, i * spans / kStretches * kernels::kAttentionSpan));
  return edges;
}

namespace {

// The first stretch, and the one behind the last, of each of a rank's two groups.
std::vector<IndexRange> GroupsOf(int rank, int ranks) {
  TEMPER_CHECK(kStretches % (2 * ranks) == 0, ranks, " ranks share a sequence");
  const int64_t in_group = kStretches / (2 * ranks), last = 2 * ranks - 1 - rank;
  return {{rank * in_group, (rank + 1) * in_group}, {last * in_group, (last + 1) * in_group}};
}

}  // namespace

std::vector<IndexRange> PositionsOf(int64_t positions, int rank, int ranks) {
  const std::vector<int64_t> edges = StretchEdges(positions);
  std::vector<IndexRange> all;
  for (const IndexRange& group : GroupsOf(rank, ranks)) {
    const IndexRange range{edges[group.begin], edges[group.end]};
    if (range.begin == range.end) continue;
    if (!all.empty() && all.back().end == range.begin) {
      all.back().end = range.end;
    } else {
      all.push_back(range);
    }
  }
  return all;
}

Stretches StretchesOf(int64_t positions, int rank, int ranks) {
  const std::vector<int64_t> edges = StretchEdges(positions);
  Stretches rows;
  for (const IndexRange& group : GroupsOf(rank, ranks)) {
    for (int64_t i = group.begin; i < group.end; ++i)
      if (edges[i] < edges[i + 1]) rows.edges.push_back(rows.edges.back() + edges[i + 1] - edges[i]);
  }
  return rows;
}

}  // namespace temper
