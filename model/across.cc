// SPDX-License-Identifier: Apache-2.0
#include "model/across.h"

#include <vector>

#include "core/check.h"

namespace temper {
namespace {

// Between the ranks' own rows, in floats.
std::vector<int64_t> RowEdges(const Context& c, Matrix all) {
  const int ranks = TensorRanks(c).size();
  std::vector<int64_t> edges;
  for (int r = 0; r <= ranks; ++r) edges.push_back(ShareOf(all.rows, r, ranks).begin * all.cols);
  return edges;
}

}  // namespace

void SumAcross(const Context& c, Matrix sum) {
  Communicator& ranks = TensorRanks(c);
  if (ranks.size() == 1) return;
  TEMPER_CHECK(sum.stride == sum.cols);
  SumTree(sum.f32(), sum.rows * sum.cols, ranks);
}

Share OwnShare(const Context& c, int64_t rows) {
  return c.shares_rows ? ShareOf(rows, TensorRanks(c).rank(), TensorRanks(c).size()) : Share{0, rows};
}

Matrix OwnRows(const Context& c, Matrix all) {
  const Share own = OwnShare(c, all.rows);
  return all.Rows(own.begin, own.end - own.begin);
}

void GatherRows(const Context& c, Matrix all) {
  if (!c.shares_rows) return;
  TEMPER_CHECK(all.stride == all.cols);
  GatherParts(all.f32(), RowEdges(c, all), TensorRanks(c));
}

Matrix AllRows(const Context& c, Matrix own, int64_t rows) {
  if (!c.shares_rows) return own;
  const Matrix all = c.workspace->NewRows(rows, own.cols);
  c.backend->Copy(own, OwnRows(c, all));
  GatherRows(c, all);
  return all;
}

Matrix SumOwnRows(const Context& c, Matrix sum) {
  if (c.shares_rows) {
    TEMPER_CHECK(sum.stride == sum.cols);
    SumTreeParts(sum.f32(), RowEdges(c, sum), TensorRanks(c));
  } else {
    SumAcross(c, sum);
  }
  return OwnRows(c, sum);
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
