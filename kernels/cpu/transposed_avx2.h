// SPDX-License-Identifier: Apache-2.0
// Few rows of a against rows of b [n, k], which are transposed in registers: AVX2. Included only by
// kernels/cpu/few_rows.cc.
#pragma once

#include "kernels/cpu/panel.h"
#include "kernels/cpu/transpose.h"

namespace temper::kernels {
namespace TEMPER_ISA {

// 16 kHalves rows of b from `column` on. Chunks have at least 4 words.
template <typename E, int R, int kHalves>
inline void TransposedTile(const PanelTask& t, int column) {
  constexpr int kSteps = 4 * kInWord<E>, kLine = 4 * kSteps;
  const PanelFactors& x = t.factors[0];
  const E* const b = static_cast<const E*>(x.b);
  ChunkTree<kHalves * R> tree;
  F16 acc[kHalves * R];
  // The last `steps` of the kSteps columns from i on, of 8 rows of b.
  const auto four = [&](int64_t i, int half, bool high, int steps) {
    __m256 columns[4];
    LoadColumns(b + (column + half * kLanes + (high ? 8 : 0)) * x.ldb + i, x.ldb, columns);
#pragma GCC unroll 8
    for (int s = 0; s < kSteps; ++s) {
      if (s < kSteps - steps) continue;
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        __m256& y = high ? acc[kHalves * r + half].hi : acc[kHalves * r + half].lo;
        y = _mm256_fmadd_ps(_mm256_set1_ps(x.a[r * x.lda + i + s]), Column<E>(columns, s), y);
      }
    }
  };
  for (int c = 0; c < t.chunks; ++c) {
    Zero(acc);
    const int64_t end = ChunkBegin(t, x, c + 1);
    int64_t i = ChunkBegin(t, x, c);
    // A line of each row at once: rows a power of two apart share few sets of the first cache.
    for (; i + kLine <= end; i += kLine) {
#pragma GCC unroll 2
      for (int half = 0; half < kHalves; ++half) {
        FetchLines<kLanes>(b + (column + (half + kHalves) * kLanes) * x.ldb + i, x.ldb);
#pragma GCC unroll 4
        for (int q = 0; q < kLine; q += kSteps) four(i + q, half, false, kSteps);
#pragma GCC unroll 4
        for (int q = 0; q < kLine; q += kSteps) four(i + q, half, true, kSteps);
      }
    }
    for (; i < end; i += kSteps) {
      const int steps = end - i < kSteps ? static_cast<int>(end - i) : kSteps;
#pragma GCC unroll 2
      for (int half = 0; half < kHalves; ++half) {
        four(i + steps - kSteps, half, false, steps);
        four(i + steps - kSteps, half, true, steps);
      }
    }
    tree.Push(c, t.chunks, acc);
  }
  for (int r = 0; r < R; ++r) {
    for (int half = 0; half < kHalves; ++half) {
      FinishVector(t, r, column + half * kLanes, kLanes, acc[kHalves * r + half]);
    }
  }
}

// One row of a, b [n, k], four of its rows: lanes are the 8 chunks of a row, so that they lie in one piece of
// memory. `steps` is a chunk's length, a multiple of 16; x holds a the same way, [steps][8].
template <typename E>
inline void ChunksOfRows(const PanelTask& t, int64_t steps, const float* x, int column) {
  const int64_t ldb = t.factors[0].ldb;
  const E* b = static_cast<const E*>(t.factors[0].b) + column * ldb;
  __m256 acc[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
  // Meanwhile the rows after the next four are fetched as they lie in memory, as many lines as are read.
  constexpr int kLine = 64;
  const char* ahead = reinterpret_cast<const char*>(b + 8 * ldb);
  for (int64_t i = 0; i < steps; i += 4 * kInWord<E>) {
#pragma GCC unroll 4
    for (int row = 0; row < 4; ++row) {
      __builtin_prefetch(ahead, 0, 2);
      __builtin_prefetch(ahead + kLine, 0, 2);
      ahead += 2 * kLine;
      __m256 columns[4];
      LoadColumns(b + row * ldb + i, steps, columns);
#pragma GCC unroll 8
      for (int s = 0; s < 4 * kInWord<E>; ++s) {
        acc[row] = _mm256_fmadd_ps(_mm256_loadu_ps(x + 8 * (i + s)), Column<E>(columns, s), acc[row]);
      }
    }
  }
  // Neighbours add, three times: ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)) of each row.
  const __m256 fours = _mm256_hadd_ps(_mm256_hadd_ps(acc[0], acc[1]), _mm256_hadd_ps(acc[2], acc[3]));
  __m128 y = _mm_add_ps(_mm256_castps256_ps128(fours), _mm256_extractf128_ps(fours, 1));
  if (t.bias != nullptr) y = _mm_add_ps(y, _mm_loadu_ps(t.bias + column));
  if (t.add != nullptr) y = _mm_add_ps(y, _mm_loadu_ps(t.add + column));
  _mm_storeu_ps(t.c + column, y);
}

// Up to kDirectRows rows of a against rows of b. How many columns were done.
template <typename E>
inline int Transposed(const PanelTask& t, float* scratch) {
  const PanelFactors& x = t.factors[0];
  const int64_t steps = t.k / t.chunks;
  int column = 0;
  if (steps < 4 * kInWord<E>) return 0;
  if (t.rows == 1 && t.chunks == 8 && t.k % (8 * 16) == 0) {
    for (int64_t i = 0; i < steps; i += 4) {
      __m256 columns[4];
      LoadColumns(x.a + i, steps, columns);
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) _mm256_storeu_ps(scratch + 8 * (i + s), columns[s]);
    }
    for (; column + 4 <= t.cols; column += 4) ChunksOfRows<E>(t, steps, scratch, column);
    return column;
  }
  WithRows<kDirectRows>(t.rows, [&](auto rows) {
    constexpr int kCount = decltype(rows)::value, kHalves = kCount == 1 ? 2 : 1;
    for (; column + kHalves * kLanes <= t.cols; column += kHalves * kLanes) {
      TransposedTile<E, kCount, kHalves>(t, column);
    }
  });
  return column;
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
