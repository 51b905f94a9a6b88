// SPDX-License-Identifier: Apache-2.0
// Few rows of a against rows of b [n, k], which are transposed in registers: AVX2. Included only by
// kernels/cpu/few_rows.cc.
#pragma once

#include "kernels/cpu/panel.h"
#include "kernels/cpu/transpose.h"

namespace temper::kernels {
namespace TEMPER_ISA {

// 8 kEights rows of b from `column` on. Chunks have at least 4 words.
template <typename E, int R, int kEights>
inline void TransposedTile(const PanelTask& t, int column) {
  constexpr int kSteps = 4 * kInWord<E>, kHalves = (kEights + 1) / 2;
  const bool in_few_sets = InFewSets<E>(t.factors[0].ldb);
  const PanelFactors& x = t.factors[0];
  const E* const b = static_cast<const E*>(x.b) + column * x.ldb;
  ChunkTree<kHalves * R> tree;
  F16 acc[kHalves * R];
  // The last `steps` of the kSteps columns from i on, of 8 rows of b.
  const auto four = [&](int64_t i, int eight, int steps) __attribute__((always_inline)) {
    __m256 columns[4];
    LoadColumns(b + 8 * eight * x.ldb + i, x.ldb, columns);
#pragma GCC unroll 8
    for (int s = 0; s < kSteps; ++s) {
      if (s < kSteps - steps) continue;
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        F16& both = acc[kHalves * r + eight / 2];
        __m256& y = eight % 2 == 1 ? both.hi : both.lo;
        y = _mm256_fmadd_ps(_mm256_set1_ps(x.a[r * x.lda + i + s]), Column<E>(columns, s), y);
      }
    }
  };
  for (int c = 0; c < t.chunks; ++c) {
    Zero(acc);
    const int64_t end = ChunkBegin(t, x, c + 1);
    int64_t i = ChunkBegin(t, x, c);
    // Of rows that share few sets of the first cache a line is read to its end.
    constexpr int64_t kLine = 4 * kSteps;
    for (; in_few_sets && i + kLine <= end; i += kLine) {
      FetchAhead<8 * kEights>(x, b, i);
#pragma GCC unroll 4
      for (int eight = 0; eight < kEights; ++eight) {
#pragma GCC unroll 4
        for (int q = 0; q < kLine; q += kSteps) four(i + q, eight, kSteps);
      }
    }
    // The others' chains go side by side: one alone waits for its own sums.
    for (; i + kSteps <= end; i += kSteps) {
      if (i / kSteps % 4 == 0) FetchAhead<8 * kEights>(x, b, i);
#pragma GCC unroll 4
      for (int eight = 0; eight < kEights; ++eight) four(i, eight, kSteps);
    }
    if (i < end) {
#pragma GCC unroll 4
      for (int eight = 0; eight < kEights; ++eight) four(end - kSteps, eight, static_cast<int>(end - i));
    }
    tree.Push(c, t.chunks, acc);
  }
  for (int r = 0; r < R; ++r) {
    for (int half = 0; half < kHalves; ++half) {
      const int lanes = kEights == 1 ? 8 : kLanes;
      FinishVector(t, r, column + half * kLanes, lanes, acc[kHalves * r + half]);
    }
  }
}

// Up to kDirectRows rows of a against rows of b. How many columns were done.
template <typename E>
inline int Transposed(const PanelTask& t) {
  int column = 0;
  if (t.k / t.chunks < 4 * kInWord<E>) return 0;
  WithRows<kDirectRows>(t.rows, [&](auto rows) {
    // A row's chains of f32 keep up with memory 16 at a time; of Bf16, of which twice as many come, they do
    // not.
    constexpr int kCount = decltype(rows)::value, kEights = kCount == 1   ? 2 * kInWord<E>
                                                            : kCount <= 4 ? 2
                                                                          : 1;
    for (; column + 8 * kEights <= t.cols; column += 8 * kEights) {
      TransposedTile<E, kCount, kEights>(t, column);
    }
  });
  return column;
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
