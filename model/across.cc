// SPDX-License-Identifier: Apache-2.0
#include "model/across.h"

#include <vector>

#include "comm/reduce.h"
#include "core/check.h"

namespace temper {

void SumAcross(const Context& c, Matrix sum) {
  Communicator& ranks = TensorRanks(c);
  if (ranks.size() == 1) return;
  TEMPER_CHECK(sum.stride == sum.cols);
  SumTree(sum.f32(), sum.rows * sum.cols, ranks);
}

Matrix GatherColumns(const Context& c, Matrix mine, int64_t whole) {
  Communicator& ranks = TensorRanks(c);
  if (ranks.size() == 1) return mine;
  const Matrix all = c.workspace->NewRows(mine.rows, whole);
  const Workspace::Mark mark = c.workspace->Here();
  float* const parts = c.workspace->Floats(mine.rows * whole);
  std::vector<int64_t> edges;
  for (int r = 0; r <= ranks.size(); ++r) edges.push_back(ShareOf(whole, r, ranks.size()).begin * mine.rows);
  const auto part = [&](int r) {
    return kernels::F32(parts + edges[r], mine.rows,
                        ShareOf(whole, r, ranks.size()).end - edges[r] / mine.rows);
  };
  if (mine.rows == 0) return all;
  c.backend->Copy(mine, part(ranks.rank()));
  GatherParts(parts, edges, ranks);
  for (int r = 0; r < ranks.size(); ++r) {
    const Matrix from = part(r);
    c.backend->Copy(from, all.Columns(edges[r] / mine.rows, from.cols));
  }
  c.workspace->Release(mark);
  return all;
}

}  // namespace temper
