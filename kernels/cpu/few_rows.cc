// SPDX-License-Identifier: Apache-2.0
// Products of few rows with an operand that is not packed: it is read once.
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/panel.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/tile.h"
#if defined(TEMPER_ISA_avx512)
#include "kernels/cpu/transposed_avx512.h"
#elif defined(TEMPER_ISA_avx2)
#include "kernels/cpu/transposed_avx2.h"
#endif

namespace temper::kernels {
namespace TEMPER_ISA {
namespace {

// Chains over a packed panel, and what is left to fetch is fetched in the first steps.
template <int R>
inline void ChainsAhead(const Walk& walk, F16 (&acc)[kWidth * R], Fetch& fetch) {
  const int64_t ahead = fetch.lines() / 2 < walk.k ? fetch.lines() / 2 : walk.k;
  ChainsFetching<R, false, 0>({walk.a, walk.stride, walk.panel, kPanel, ahead}, acc, fetch);
  Chains<R, false>({walk.a + ahead, walk.stride, walk.panel + ahead * kPanel, kPanel, walk.k - ahead}, acc);
}

// Chains whose accumulators wait in memory: those of other rows have the registers in between.
template <int R, bool kFar, bool kCopy>
__attribute__((noinline)) void WaitingChains(const Walk& walk, F16 (&waiting)[kWidth * R], float* copy,
                                             Fetch& fetch) {
  F16 acc[kWidth * R];
#pragma GCC unroll 12
  for (int i = 0; i < kWidth * R; ++i) acc[i] = waiting[i];
  if constexpr (kFar || kCopy) {
    Chains<R, false, kFar, kCopy>(walk, acc, copy);
  } else {
    ChainsAhead<R>(walk, acc, fetch);
  }
#pragma GCC unroll 12
  for (int i = 0; i < kWidth * R; ++i) waiting[i] = acc[i];
}

// R rows: packs a little of the panel, unless it can be read as it is, and carries the chains on. Then those
// of S more rows.
template <int R, int S>
void PackAsYouGo(const PanelTask& t, float* scratch) {
  constexpr int64_t kStep = 128;
  ChunkTree<kWidth * R> tree;
  ChunkTree<kWidth*(S > 0 ? S : 1)> second_tree;
  F16 acc[kWidth * R], second[kWidth * (S > 0 ? S : 1)];
  const bool in_place = !t.b_transposed && !t.b_bf16 && t.cols == kPanel;
  for (int c = 0; c < t.chunks; ++c) {
    Zero(acc);
    Zero(second);
    for (int f = 0; f < t.factor_count; ++f) {
      const PanelFactors& x = t.factors[f];
      const int64_t end = ChunkBegin(t, x, c + 1);
      for (int64_t begin = ChunkBegin(t, x, c); begin < end; begin += kStep) {
        const int64_t count = end - begin < kStep ? end - begin : kStep;
        const float *const a = x.a + begin, *const more = a + R * x.lda;
        const void* const at = At(t, x, 0, begin);
        const float* const b = static_cast<const float*>(at);
        Fetch fetch;
        if (!in_place) {
          PackPanel({at, x.ldb, t.cols, count, 0, t.b_bf16}, t.b_transposed, scratch);
          // Behind the last steps come the next columns' first ones.
          const int64_t next = begin + kStep < x.k ? begin + kStep : 0, size = t.b_bytes();
          if (t.next != nullptr)
            fetch = Fetch(next == 0 ? t.next : At(t, x, 0, next), kStep * size, t.cols, x.ldb * size);
        }
        if constexpr (S == 0) {
          if (in_place) {
            Chains<R, false, true>({a, x.lda, b, x.ldb, count}, acc);
          } else {
            WaitingChains<R, false, false>({a, x.lda, scratch, kPanel, count}, acc, nullptr, fetch);
          }
        } else {
          if (in_place) {
            WaitingChains<R, true, true>({a, x.lda, b, x.ldb, count}, acc, scratch, fetch);
          } else {
            WaitingChains<R, false, false>({a, x.lda, scratch, kPanel, count}, acc, nullptr, fetch);
          }
          WaitingChains<S, false, false>({more, x.lda, scratch, kPanel, count}, second, nullptr, fetch);
        }
      }
    }
    tree.Push(c, t.chunks, acc);
    if constexpr (S > 0) second_tree.Push(c, t.chunks, second);
  }
  Finish<R>(t, 0, acc);
  if constexpr (S > 0) Finish<S>(t, R, second);
}

// b [k, n], read in place along its rows, several at a time. The accumulators, [R][cols], are in the scratch
// memory.
template <typename E, int R>
void AlongRows(const PanelTask& t, float* scratch) {
  // As many rows as registers hold beside the accumulators.
  constexpr int kRows = R == 1 && kWidth > 1 ? 8 : 4;
  const int64_t width = (t.cols + kLanes - 1) / kLanes * kLanes;
  float* acc = scratch;
  const auto step = [&](const PanelFactors& x, int64_t i, auto rows, int64_t c, int lanes) {
    constexpr int kCount = decltype(rows)::value;
    F16 b[kCount];
#pragma GCC unroll 8
    for (int j = 0; j < kCount; ++j) {
      const E* from = static_cast<const E*>(x.b) + (i + j) * x.ldb + c;
      __builtin_prefetch(from + kCount * x.ldb);
      b[j] = lanes == kLanes ? Load(from) : LoadFirst(from, lanes);
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      F16 y = Load(acc + r * width + c);
#pragma GCC unroll 8
      for (int j = 0; j < kCount; ++j) y = Fma(Set(x.a[r * x.lda + i + j]), b[j], y);
      Store(acc + r * width + c, y);
    }
  };
  const auto sweep = [&](const PanelFactors& x, int64_t i, auto rows) {
    int64_t c = 0;
    for (; c + kLanes <= t.cols; c += kLanes) step(x, i, rows, c, kLanes);
    if (c < t.cols) step(x, i, rows, c, static_cast<int>(t.cols - c));
  };
  for (int chunk = 0; chunk < t.chunks; ++chunk) {
    for (int64_t c = 0; c < R * width; c += kLanes) Store(acc + c, Set(0.0f));
    for (int f = 0; f < t.factor_count; ++f) {
      const PanelFactors& x = t.factors[f];
      const int64_t end = ChunkBegin(t, x, chunk + 1);
      int64_t i = ChunkBegin(t, x, chunk);
      for (; i + kRows <= end; i += kRows) sweep(x, i, Rows<kRows>());
      for (; i < end; ++i) sweep(x, i, Rows<1>());
    }
    PushArrays(chunk, t.chunks, R * width, acc);
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < t.cols; c += kLanes) FinishVector(t, r, c, t.cols - c, Load(acc + r * width + c));
  }
}

// At most kPackRows rows against one panel's columns.
void PackRows(const PanelTask& t, float* scratch) {
  WithRows<kPackRows>(t.rows, [&](auto rows) {
    constexpr int kRows = decltype(rows)::value, kFirst = kRows <= kTileRows ? kRows : (kRows + 1) / 2;
    PackAsYouGo<kFirst, kRows - kFirst>(t, scratch);
  });
}

// Few rows against columns that are read once.
template <typename E>
void Direct(const PanelTask& t, float* scratch) {
  if (!t.b_transposed) {
    return WithRows<kDirectRowsAlong>(t.rows,
                                      [&](auto rows) { AlongRows<E, decltype(rows)::value>(t, scratch); });
  }
  int column = 0;
#if !defined(TEMPER_ISA_plain)
  // Where rows of b fall into few sets of the first cache, more rows of a are faster through panels.
  if (t.rows <= 4 || !InFewSets<E>(t.factors[0].ldb)) column = Transposed<E>(t);
#endif
  for (; column < t.cols; column += kPanel) PackRows(PartOf(t, column, kPanel), scratch);
}

}  // namespace

void ComputeFewRows(const PanelTask& t, float* scratch) {
  if (t.rows > DirectRows(t.b_transposed, t.factors[0].ldb)) return PackRows(t, scratch);
  t.b_bf16 ? Direct<Bf16>(t, scratch) : Direct<float>(t, scratch);
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
