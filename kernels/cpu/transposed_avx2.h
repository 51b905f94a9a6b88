// SPDX-License-Identifier: Apache-2.0
// Few rows of a against rows of b [n, k], which are transposed in registers: AVX2. Included only by
// kernels/cpu/few_rows.cc.
#pragma once

#include "kernels/cpu/panel.h"
#include "kernels/cpu/transpose.h"

namespace temper::kernels {
namespace TEMPER_ISA {

// R rows of a against kGroups groups of 8 rows of b. Chunks have at least 4 steps.
template <int R, int kGroups>
inline void TransposedTile(const PanelTask& t, int column) {
  __m256 acc[R][kGroups], pending[3][R][kGroups];
  // The last `steps` of the four columns from i on.
  const auto four = [&](int64_t i, int group, int steps) {
    __m256 columns[4];
    LoadColumns(t.b + (column + 8 * group) * t.ldb + i, t.ldb, columns);
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) {
      if (s < 4 - steps) continue;
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        acc[r][group] = _mm256_fmadd_ps(_mm256_set1_ps(t.a[r * t.lda + i + s]), columns[s], acc[r][group]);
      }
    }
  };
  const auto each = [&](const auto& body) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int group = 0; group < kGroups; ++group) body(r, group);
    }
  };
  for (int c = 0; c < t.k_chunks; ++c) {
    each([&](int r, int group) { acc[r][group] = _mm256_setzero_ps(); });
    const int64_t end = ChunkBegin(t, c + 1);
    int64_t i = ChunkBegin(t, c);
    // A line of each row at once: rows a power of two apart share few sets of the first cache.
    for (; i + 16 <= end; i += 16) {
#pragma GCC unroll 4
      for (int group = 0; group < kGroups; ++group) {
#pragma GCC unroll 4
        for (int q = 0; q < 16; q += 4) four(i + q, group, 4);
      }
    }
    for (; i < end; i += 4) {
      const int steps = end - i < 4 ? static_cast<int>(end - i) : 4;
#pragma GCC unroll 4
      for (int group = 0; group < kGroups; ++group) four(i + steps - 4, group, steps);
    }
    // As ChunkTree.
    int level = 0;
    for (int bits = c; bits & 1; bits >>= 1, ++level) {
      each([&](int r, int group) { acc[r][group] = _mm256_add_ps(pending[level][r][group], acc[r][group]); });
    }
    if (c + 1 < t.k_chunks) each([&](int r, int group) { pending[level][r][group] = acc[r][group]; });
  }
  each([&](int r, int group) {
    FinishVector(t, r, column + 8 * group, 8, {acc[r][group], _mm256_setzero_ps()});
  });
}

// One row of a, b [n, k], four of its rows: lanes are the 8 chunks of a row, so that they lie in one piece of
// memory. `steps` is a chunk's length, a multiple of 16; x holds a the same way, [steps][8].
inline void ChunksOfRows(const PanelTask& t, int64_t steps, const float* x, int column) {
  const float* b = t.b + column * t.ldb;
  __m256 acc[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
  for (int64_t i = 0; i < steps; i += 4) {
#pragma GCC unroll 4
    for (int row = 0; row < 4; ++row) {
      __m256 columns[4];
      LoadColumns(b + row * t.ldb + i, steps, columns);
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) {
        acc[row] = _mm256_fmadd_ps(_mm256_loadu_ps(x + 8 * (i + s)), columns[s], acc[row]);
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
inline int Transposed(const PanelTask& t, float* scratch) {
  const int64_t steps = t.k / t.k_chunks;
  int column = 0;
  if (steps < 4) return 0;
  if (t.rows == 1 && t.k_chunks == 8 && t.k % (8 * 16) == 0) {
    for (int64_t i = 0; i < steps; i += 4) {
      __m256 columns[4];
      LoadColumns(t.a + i, steps, columns);
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) _mm256_storeu_ps(scratch + 8 * (i + s), columns[s]);
    }
    for (; column + 4 <= t.cols; column += 4) ChunksOfRows(t, steps, scratch, column);
    return column;
  }
  WithRows<kDirectRows>(t.rows, [&](auto rows) {
    constexpr int kCount = decltype(rows)::value, kGroups = kCount == 1 ? 4 : 2;
    for (; column + 8 * kGroups <= t.cols; column += 8 * kGroups) TransposedTile<kCount, kGroups>(t, column);
    for (; column + 8 <= t.cols; column += 8) TransposedTile<kCount, 1>(t, column);
  });
  return column;
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
