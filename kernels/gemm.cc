// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm.h"

#include <algorithm>

#include "core/check.h"
#include "kernels/cpu/gemm.h"
#include "kernels/isa.h"

namespace temper::kernels {
namespace {

// Rows that one piece of work takes: enough to make a panel's way into the cache worth it.
constexpr int64_t kRowBlock = 240;

float* Scratch(int64_t floats) {
  static thread_local std::vector<float> scratch;
  if (static_cast<int64_t>(scratch.size()) < floats) scratch.resize(floats);
  return scratch.data();
}

int64_t Ceil(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Pieces of several operations, numbered through: piece p belongs to operation index(p).
struct Pieces {
  std::vector<int64_t> first;  // [operations + 1]
  void Add(int64_t count) {
    if (first.empty()) first.push_back(0);
    first.push_back(first.back() + count);
  }
  int64_t total() const { return first.empty() ? 0 : first.back(); }
  size_t Operation(int64_t piece) const {
    return std::upper_bound(first.begin(), first.end(), piece) - first.begin() - 1;
  }
};

}  // namespace

void Pack(const float* b, int64_t ldb, bool transposed, int64_t n, int64_t k, PackedMatrix* out,
          ThreadPool& pool) {
  out->n = n;
  out->k = k;
  const int64_t panels = Ceil(n, kPanel);
  out->panels.resize(panels * k * kPanel);
  const auto pack = TEMPER_DISPATCH(PackPanel);
  pool.ParallelFor(panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t column = p * kPanel;
      pack(transposed ? b + column * ldb : b + column, ldb, transposed,
           static_cast<int>(std::min<int64_t>(kPanel, n - column)), k, out->panels.data() + p * k * kPanel);
    }
  });
}

void Products(absl::Span<const Product> products, ThreadPool& pool) {
  static thread_local Pieces pieces;
  pieces.first.clear();
  double work = 0;
  for (const Product& p : products) {
    TEMPER_CHECK(p.k_chunks == 1 || p.k_chunks == kChunks);
    TEMPER_CHECK(p.packed == nullptr || (p.packed->n == p.n && p.packed->k == p.k));
    pieces.Add(p.m == 0 ? 0 : Ceil(p.n, kPanel) * Ceil(p.m, kRowBlock));
    work += static_cast<double>(p.m + 8) * p.n * p.k;
  }
  if (pieces.total() == 0) return;
  // Pieces of at least about 10 microseconds, so that handing them out costs little.
  const double per_piece = work / static_cast<double>(pieces.total());
  const int64_t grain = std::max<int64_t>(1, static_cast<int64_t>(400e3 / per_piece));
  const auto compute = TEMPER_DISPATCH(ComputePanel);
  const Pieces& all = pieces;
  pool.ParallelFor(pieces.total(), grain, [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; ++piece) {
      const size_t index = all.Operation(piece);
      const Product& p = products[index];
      const int64_t local = piece - all.first[index], blocks = Ceil(p.m, kRowBlock);
      const int64_t panel = local / blocks, row = local % blocks * kRowBlock, column = panel * kPanel;
      PanelTask task;
      task.a = p.a + row * p.lda;
      task.lda = p.lda;
      task.panel = p.packed == nullptr ? nullptr : p.packed->panels.data() + panel * p.k * kPanel;
      task.b = p.b == nullptr ? nullptr : p.b_transposed ? p.b + column * p.ldb : p.b + column;
      task.ldb = p.ldb;
      task.b_transposed = p.b_transposed;
      task.c = p.c + row * p.ldc + column;
      task.ldc = p.ldc;
      task.rows = std::min(kRowBlock, p.m - row);
      task.cols = static_cast<int>(std::min<int64_t>(kPanel, p.n - column));
      task.k = p.k;
      task.k_chunks = p.k_chunks;
      task.bias = p.bias == nullptr ? nullptr : p.bias + column;
      task.add = p.add == nullptr ? nullptr : p.add + row * p.ldadd + column;
      task.ldadd = p.ldadd;
      compute(task, task.panel != nullptr ? nullptr : Scratch(std::max<int64_t>(p.k, 128) * kPanel));
    }
  });
}

void WeightGradients(absl::Span<const WeightGradient> gradients, ThreadPool& pool) {
  constexpr int64_t kRows = 48;  // rows of dw in a piece
  static thread_local Pieces pieces;
  pieces.first.clear();
  double work = 0;
  for (const WeightGradient& g : gradients) {
    pieces.Add(g.m == 0 ? 0 : Ceil(g.k, kPanel) * Ceil(g.n, kRows));
    work += static_cast<double>(g.m) * g.n * g.k;
  }
  if (pieces.total() == 0) return;
  const int64_t grain =
      std::max<int64_t>(1, static_cast<int64_t>(400e3 / (work / static_cast<double>(pieces.total()))));
  const auto compute = TEMPER_DISPATCH(ComputeGradient);
  const Pieces& all = pieces;
  pool.ParallelFor(pieces.total(), grain, [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; ++piece) {
      const size_t index = all.Operation(piece);
      const WeightGradient& g = gradients[index];
      const int64_t local = piece - all.first[index], blocks = Ceil(g.n, kRows);
      const int64_t column = local / blocks * kPanel, row = local % blocks * kRows;
      compute({g.dy + row, g.lddy, g.x + column, g.ldx, g.dw + row * g.lddw + column, g.lddw, g.m,
               std::min(kRows, g.n - row), static_cast<int>(std::min<int64_t>(kPanel, g.k - column))});
    }
  });
}

void BiasGradient(const float* dy, int64_t lddy, int64_t m, int64_t n, float* dbias, ThreadPool& pool) {
  const auto sum = TEMPER_DISPATCH(SumColumns);
  pool.ParallelFor(Ceil(n, 16), 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      sum(dy + i * 16, lddy, m, static_cast<int>(std::min<int64_t>(16, n - i * 16)), dbias + i * 16);
    }
  });
}

}  // namespace temper::kernels
