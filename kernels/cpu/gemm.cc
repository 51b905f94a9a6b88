// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/gemm.h"

#include "kernels/cpu/simd.h"
#include "kernels/cpu/tile.h"
#include "kernels/cpu/transpose.h"

namespace temper::kernels {
namespace TEMPER_ISA {
namespace {

constexpr int kPanel = 32;

inline int64_t ChunkBegin(const PanelTask& t, int c) { return c * t.k / t.k_chunks; }

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
inline void Finish(const PanelTask& t, int64_t row, const F16 (&acc)[2 * R]) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    FinishVector(t, row + r, 0, t.cols, acc[2 * r]);
    if (t.cols > kLanes) FinishVector(t, row + r, kLanes, t.cols - kLanes, acc[2 * r + 1]);
  }
}

// R rows of the panel at `panel`.
template <int R, bool kColumns>
void Tile(const PanelTask& t, const float* panel, int64_t row) {
  const float* a = kColumns ? t.a + row * t.k : t.a + row * t.lda;
  const int64_t stride = kColumns ? kTileRows : t.lda;
  ChunkTree<2 * R> tree;
  F16 acc[2 * R];
  for (int c = 0; c < t.k_chunks; ++c) {
    const int64_t begin = ChunkBegin(t, c), count = ChunkBegin(t, c + 1) - begin;
    Zero(acc);
    Chains<R, kColumns>(kColumns ? a + begin * kTileRows : a + begin, stride, panel + begin * kPanel, kPanel,
                        count, acc);
    tree.Push(c, t.k_chunks, acc);
  }
  Finish<R>(t, row, acc);
}

template <bool kColumns>
void Tiles(const PanelTask& t, const float* panel) {
  int64_t row = 0;
  for (; row + kTileRows <= t.rows; row += kTileRows) Tile<kTileRows, kColumns>(t, panel, row);
  if (row == t.rows) return;
  WithRows<kTileRows - 1>(t.rows - row,
                          [&](auto rows) { Tile<decltype(rows)::value, kColumns>(t, panel, row); });
}

// Few rows: packs a little of the panel, which stays in the first cache, and carries the chains on.
template <int R>
void PackAsYouGo(const PanelTask& t, float* scratch) {
  constexpr int64_t kStep = 128;
  ChunkTree<2 * R> tree;
  F16 acc[2 * R];
  for (int c = 0; c < t.k_chunks; ++c) {
    Zero(acc);
    const int64_t end = ChunkBegin(t, c + 1);
    for (int64_t begin = ChunkBegin(t, c); begin < end; begin += kStep) {
      const int64_t count = end - begin < kStep ? end - begin : kStep;
      PackPanel(t.b_transposed ? t.b + begin : t.b + begin * t.ldb, t.ldb, t.b_transposed, t.cols, count,
                scratch);
      Chains<R, false>(t.a + begin, t.lda, scratch, kPanel, count, acc);
    }
    tree.Push(c, t.k_chunks, acc);
  }
  Finish<R>(t, 0, acc);
}

// b [k, n], read in place: kV vectors of columns, the last one with `lanes` lanes if kV is 1.
template <int R, int kV>
void WideTile(const PanelTask& t, int column, int lanes) {
  constexpr int64_t kAhead = 8;  // rows of b
  ChunkTree<R * kV> tree;
  F16 acc[R * kV];
  for (int c = 0; c < t.k_chunks; ++c) {
    Zero(acc);
    const int64_t end = ChunkBegin(t, c + 1);
    for (int64_t i = ChunkBegin(t, c); i < end; ++i) {
      const float* b = t.b + i * t.ldb + column;
#pragma GCC unroll 8
      for (int v = 0; v < kV; ++v) {
        __builtin_prefetch(b + kAhead * t.ldb + v * kLanes);
        const F16 x = kV > 1 || lanes == kLanes ? Load(b + v * kLanes) : LoadFirst(b, lanes);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          acc[r * kV + v] = Fma(Set(t.a[r * t.lda + i]), x, acc[r * kV + v]);
        }
      }
    }
    tree.Push(c, t.k_chunks, acc);
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < kV; ++v) FinishVector(t, r, column + v * kLanes, lanes, acc[r * kV + v]);
  }
}

#if defined(TEMPER_ISA_avx512)
constexpr int kWideVectors = 4;
#else
constexpr int kWideVectors = 2;
#endif

template <int R>
void Wide(const PanelTask& t) {
  constexpr int kV = R == 1 ? 2 * kWideVectors : kWideVectors;
  int column = 0;
  for (; column + kV * kLanes <= t.cols; column += kV * kLanes) WideTile<R, kV>(t, column, kLanes);
  for (; column < t.cols; column += kLanes) {
    WideTile<R, 1>(t, column, t.cols - column < kLanes ? t.cols - column : kLanes);
  }
}

#if defined(TEMPER_ISA_avx512)
// b [n, k], 32 of its rows, transposed in registers.
template <int R>
void Transposed(const PanelTask& t, float* scratch) {
  constexpr int64_t kAhead = 128;  // floats
  ChunkTree<2 * R> tree;
  F16 acc[2 * R];
  for (int c = 0; c < t.k_chunks; ++c) {
    Zero(acc);
    const int64_t end = ChunkBegin(t, c + 1);
    int64_t i = ChunkBegin(t, c);
    for (; i + kLanes <= end; i += kLanes) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const float* b = t.b + half * kLanes * t.ldb + i;
#pragma GCC unroll 16
        for (int j = 0; j < kLanes; ++j) __builtin_prefetch(b + j * t.ldb + kAhead);
        const Block16 block = LoadBlock(b, t.ldb);
#pragma GCC unroll 16
        for (int s = 0; s < kLanes; ++s) {
          const F16 x = Column(block, s);
#pragma GCC unroll 4
          for (int r = 0; r < R; ++r) {
            acc[2 * r + half] = Fma(Set(t.a[r * t.lda + i + s]), x, acc[2 * r + half]);
          }
        }
      }
    }
    if (i < end) {
      PackPanel(t.b + i, t.ldb, true, t.cols, end - i, scratch);
      Chains<R, false>(t.a + i, t.lda, scratch, kPanel, end - i, acc);
    }
    tree.Push(c, t.k_chunks, acc);
  }
  Finish<R>(t, 0, acc);
}
#endif

}  // namespace

void ComputePanel(const PanelTask& t, float* scratch) {
  if (t.panel != nullptr) return t.lda == 0 ? Tiles<true>(t, t.panel) : Tiles<false>(t, t.panel);
  if (t.wide) return WithRows<kDirectRows>(t.rows, [&](auto rows) { Wide<decltype(rows)::value>(t); });
#if defined(TEMPER_ISA_avx512)
  if (t.rows <= kDirectRows && t.b_transposed && t.cols == kPanel) {
    return WithRows<kDirectRows>(t.rows, [&](auto rows) { Transposed<decltype(rows)::value>(t, scratch); });
  }
#endif
  if (t.rows <= kTileRows) {
    return WithRows<kTileRows>(t.rows, [&](auto rows) { PackAsYouGo<decltype(rows)::value>(t, scratch); });
  }
  PackPanel(t.b, t.ldb, t.b_transposed, t.cols, t.k, scratch);
  return t.lda == 0 ? Tiles<true>(t, scratch) : Tiles<false>(t, scratch);
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
