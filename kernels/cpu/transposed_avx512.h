// SPDX-License-Identifier: Apache-2.0
// Few rows of a against rows of b [n, k], which are transposed in registers: AVX-512. Included only by
// kernels/cpu/few_rows.cc.
#pragma once

#include "kernels/cpu/panel.h"
#include "kernels/cpu/transpose.h"

namespace temper::kernels {
namespace TEMPER_ISA {

// Lines of a chunk for which a row alone fetches ahead.
constexpr int64_t kWindowLines = 4;

// b [n, k], 16 kHalves of its rows from `column` on, transposed in registers. Chunks have at least 16 words.
template <typename E, int R, int kHalves>
void TransposedTile(const PanelTask& t, int column) {
  constexpr int kSteps = kLanes * kInWord<E>;
  const PanelFactors& x = t.factors[0];
  const E* const b = static_cast<const E*>(x.b);
  // Meanwhile the next rows are fetched: those of f32 one line behind another as they lie in memory, which
  // reads 3% faster than a line of each row at 78 GB/s of memory, and 12% at 50; of bf16 it is slower.
  constexpr bool kAsTheyLie = kInWord<E> == 1;
  const char* ahead = reinterpret_cast<const char*>(b + (column + kHalves * kLanes) * x.ldb);
  ChunkTree<kHalves * R> tree;
  F16 acc[kHalves * R];
  // The last `steps` of the kSteps columns from i on.
  const auto block = [&](int64_t i, int steps) {
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half) {
      const E* const rows = b + (column + half * kLanes) * x.ldb + i;
      if constexpr (kAsTheyLie) {
        constexpr int64_t kLine = 64;
#pragma GCC unroll 16
        for (int line = 0; line < kLanes; ++line) __builtin_prefetch(ahead + kLine * line);
        ahead += kLine * kLanes;
      } else {
        FetchLines<kLanes>(rows + kHalves * kLanes * x.ldb, x.ldb);
      }
      const Block16 block = LoadBlock(rows, x.ldb);
#pragma GCC unroll 32
      for (int s = 0; s < kSteps; ++s) {
        if (s < kSteps - steps) continue;
        const F16 y = Column<E>(block, s);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          acc[kHalves * r + half] = Fma(Set(x.a[r * x.lda + i + s]), y, acc[kHalves * r + half]);
        }
      }
    }
  };
  for (int c = 0; c < t.chunks; ++c) {
    Zero(acc);
    const int64_t end = ChunkBegin(t, x, c + 1);
    int64_t i = ChunkBegin(t, x, c);
    for (; i + kSteps <= end; i += kSteps) block(i, kSteps);
    if (i < end) block(end - kSteps, static_cast<int>(end - i));
    tree.Push(c, t.chunks, acc);
  }
  for (int r = 0; r < R; ++r) {
    for (int half = 0; half < kHalves; ++half) {
      FinishVector(t, r, column + half * kLanes, kLanes, acc[kHalves * r + half]);
    }
  }
}

// One row of a, b [n, k]: lanes are the 8 chunks of two of b's rows, so that few of the lines read fall in
// one set of the first cache, and four rows of b at a time lie in one piece of memory. `steps` is a chunk's
// length, a multiple of 16; x holds a the same way.
template <typename E>
inline void ChunksOfRows(const PanelTask& t, int64_t steps, const float* x, int column) {
  // Meanwhile the next window of each chunk is fetched, at last the next four rows' first one: no further
  // ahead than stays in the first cache.
  constexpr int64_t kLine = kLanes * kInWord<E>, kWindow = kWindowLines * kLine;
  const int64_t window = steps % kWindow == 0 ? kWindow : steps;
  const int64_t ldb = t.factors[0].ldb;
  const E* b = static_cast<const E*>(t.factors[0].b) + column * ldb;
  F16 acc[2] = {Set(0.0f), Set(0.0f)};
  for (int64_t i = 0, end = window; end <= steps; end += window) {
    const E* ahead = end == steps ? b + 4 * ldb : b + end;
    int64_t left = window;
    for (; i < end; i += 8 * kInWord<E>) {
#pragma GCC unroll 8
      for (int line = 0; line < 16; line += 2) {
        __builtin_prefetch(ahead);
        __builtin_prefetch(ahead + kLine);
        ahead += 2 * kLine;
        left -= 2 * kLine;
        if (left <= 0) {
          ahead += steps - window;
          left = window;
        }
      }
#pragma GCC unroll 2
      for (int pair = 0; pair < 2; ++pair) {
        F16 columns[8];
        LoadChunks(b + 2 * pair * ldb + i, steps, ldb, columns);
#pragma GCC unroll 16
        for (int s = 0; s < 8 * kInWord<E>; ++s) {
          const F16 y = InWord<E>(columns[s / kInWord<E>].v, s);
          acc[pair] = Fma(Load(x + (i + s) * kLanes), y, acc[pair]);
        }
      }
    }
  }
  float sums[2 * kLanes];
  Store(sums, acc[0]);
  Store(sums + kLanes, acc[1]);
  for (int j = 0; j < 4; ++j) {
    const float* c = sums + 8 * j;
    float y = ((c[0] + c[1]) + (c[2] + c[3])) + ((c[4] + c[5]) + (c[6] + c[7]));
    if (t.bias != nullptr) y = y + t.bias[column + j];
    if (t.add != nullptr) y = y + t.add[column + j];
    t.c[column + j] = y;
  }
}

// Up to kDirectRows rows of a against rows of b. How many columns were done.
template <typename E>
inline int Transposed(const PanelTask& t, float* scratch) {
  const PanelFactors& x = t.factors[0];
  const int64_t steps = t.k / t.chunks;
  int column = 0;
  if (steps < kLanes * kInWord<E>) return 0;
  // Long chunks that are no whole windows have nothing fetched in time.
  constexpr int64_t kWindow = kWindowLines * kLanes * kInWord<E>;
  const bool windows = steps % kWindow == 0 || steps <= 2 * kWindow;
  if (t.rows == 1 && t.chunks == 8 && t.k % (8 * kLanes) == 0 && windows) {
    for (int64_t i = 0; i < steps; i += kLanes) {
      const Block16 block = LoadBlock(x.a + i, steps, kLanes, 0);
#pragma GCC unroll 16
      for (int s = 0; s < kLanes; ++s) Store(scratch + (i + s) * kLanes, Column<float>(block, s));
    }
    for (; column + 4 <= t.cols; column += 4) ChunksOfRows<E>(t, steps, scratch, column);
    return column;
  }
  // Rows of b this far apart fall into one set of the first cache.
  const bool one_set = x.ldb % (1024 * kInWord<E>) == 0;
  WithRows<kDirectRows>(t.rows, [&](auto rows) {
    constexpr int kCount = decltype(rows)::value;
    // One chain of Bf16 alone is slower than memory.
    if (!one_set && kCount == 1 && kInWord<E> == 2) {
      for (; column + 2 * kLanes <= t.cols; column += 2 * kLanes) TransposedTile<E, kCount, 2>(t, column);
    }
    for (; column + kLanes <= t.cols; column += kLanes) TransposedTile<E, kCount, 1>(t, column);
  });
  return column;
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
