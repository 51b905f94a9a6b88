// SPDX-License-Identifier: Apache-2.0
// What the products' two files share. Included only by kernels/cpu/*.cc.
#pragma once

#include <stdint.h>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/tile.h"

namespace temper::kernels {
namespace TEMPER_ISA {

// Where chunk c of a task's begins in the factors' part of the axis.
inline int64_t ChunkBegin(const PanelTask& t, const PanelFactors& factors, int c) {
  return ((t.first_chunk + c) * factors.whole >> t.chunk_shift) - factors.begin;
}

// Writes `lanes` columns from `column` on of one row.
inline void FinishVector(const PanelTask& t, int64_t row, int column, int lanes, F16 y) {
  float* c = t.c + row * t.ldc + column;
  const float* add = t.add == nullptr ? nullptr : t.add + row * t.ldadd + column;
  if (lanes >= kLanes) {
    if (t.bias != nullptr) y = Add(y, Load(t.bias + column));
    if (add != nullptr) y = Add(y, Load(add));
    Store(c, y);
  } else {
    if (t.bias != nullptr) y = Add(y, LoadFirst(t.bias + column, lanes));
    if (add != nullptr) y = Add(y, LoadFirst(add, lanes));
    StoreFirst(c, y, lanes);
  }
}

template <int R>
inline void Finish(const PanelTask& t, int64_t row, const F16 (&acc)[kWidth * R]) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kWidth; ++v) {
      if (v == 0 || t.cols > v * kLanes) {
        FinishVector(t, row + r, v * kLanes, t.cols - v * kLanes, acc[kWidth * r + v]);
      }
    }
  }
}

// The unpacked operand at a row (of the transposed) or column, and a step.
inline const void* At(const PanelTask& t, const PanelFactors& x, int64_t column, int64_t step) {
  const int64_t at = t.b_transposed ? column * x.ldb + step : column + step * x.ldb;
  return static_cast<const char*>(x.b) + at * t.b_bytes();
}

// Rows of b [n, k] of which a tile has many in few sets of the first cache: they lie half a page or a
// multiple of it apart.
template <typename E>
inline bool InFewSets(int64_t ldb) {
  return ldb * static_cast<int64_t>(sizeof(E)) % 2048 == 0;
}

// Fetches into the second cache a line of each of kRows rows of b [n, k], that many lines behind step i of
// theirs as a core waits for at once; behind a row's end come those of the rows after them. No processor
// foresees so many rows by itself. It is always_inline, for g++ drops calls of a function that only fetches.
template <int kRows, typename E>
[[gnu::always_inline]] inline void FetchAhead(const PanelFactors& x, const E* b, int64_t i) {
  constexpr int64_t kAheadBytes = 1024;
  i += kAheadBytes / static_cast<int64_t>(sizeof(E));
  const E* from = i < x.k ? b + i : b + kRows * x.ldb + (i - x.k);
#pragma GCC unroll 32
  for (int row = 0; row < kRows; ++row) __builtin_prefetch(from + row * x.ldb, 0, 2);
}

// The columns of a task from `column` on, at most `cols` of them.
inline PanelTask PartOf(const PanelTask& t, int column, int cols) {
  PanelTask part = t;
  for (int f = 0; f < t.factor_count; ++f) part.factors[f].b = At(t, t.factors[f], column, 0);
  part.c += column;
  if (t.bias != nullptr) part.bias += column;
  if (t.add != nullptr) part.add += column;
  part.cols = t.cols - column < cols ? t.cols - column : cols;
  return part;
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
