// SPDX-License-Identifier: Apache-2.0
// Few rows of a against rows of b [n, k], which are transposed in registers: AVX-512. Included only by
// kernels/cpu/few_rows.cc.
#pragma once

#include "kernels/cpu/panel.h"
#include "kernels/cpu/transpose.h"

namespace temper::kernels {
namespace TEMPER_ISA {

// b [n, k], 16 kHalves of its rows from `column` on, transposed in registers. Chunks have at least 8 words.
template <typename E, int R, int kHalves>
void TransposedTile(const PanelTask& t, int column) {
  constexpr int kSteps = 8 * kInWord<E>, kFetched = 16 * kHalves;
  const PanelFactors& x = t.factors[0];
  const E* const b = static_cast<const E*>(x.b) + column * x.ldb;
  ChunkTree<kHalves * R> tree;
  F16 acc[kHalves * R];
  // The last `steps` of the kSteps columns from i on. The halves' chains go side by side: one alone waits for
  // its own sums.
  const auto block = [&](int64_t i, int steps) __attribute__((always_inline)) {
    HalfBlock words[kHalves];
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half)
      words[half] = LoadHalfBlock(b + half * kLanes * x.ldb + i, x.ldb);
#pragma GCC unroll 16
    for (int s = 0; s < kSteps; ++s) {
      if (s < kSteps - steps) continue;
#pragma GCC unroll 2
      for (int half = 0; half < kHalves; ++half) {
        const F16 y = Column<E>(words[half], s);
#pragma GCC unroll 8
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
    for (; i + kSteps <= end; i += kSteps) {
      if (i / kSteps % 2 == 0) FetchAhead<kFetched>(x, b, i);
      block(i, kSteps);
    }
    if (i < end) block(end - kSteps, static_cast<int>(end - i));
    tree.Push(c, t.chunks, acc);
  }
  for (int r = 0; r < R; ++r) {
    for (int half = 0; half < kHalves; ++half) {
      FinishVector(t, r, column + half * kLanes, kLanes, acc[kHalves * r + half]);
    }
  }
}

// Up to kDirectRows rows of a against rows of b. How many columns were done.
template <typename E>
inline int Transposed(const PanelTask& t) {
  const PanelFactors& x = t.factors[0];
  int column = 0;
  if (t.k / t.chunks < 8 * kInWord<E>) return 0;
  WithRows<kDirectRows>(t.rows, [&](auto rows) {
    // A row's chains of f32 keep up with memory 16 at a time; of Bf16, of which twice as many come, they do
    // not.
    constexpr int kCount = decltype(rows)::value, kHalves = kCount == 1 ? kInWord<E> : kCount < 4 ? 2 : 1;
    if (!InFewSets<E>(x.ldb)) {
      for (; column + kHalves * kLanes <= t.cols; column += kHalves * kLanes) {
        TransposedTile<E, kCount, kHalves>(t, column);
      }
    }
    for (; column + kLanes <= t.cols; column += kLanes) TransposedTile<E, kCount, 1>(t, column);
  });
  return column;
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
