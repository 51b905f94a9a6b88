// SPDX-License-Identifier: Apache-2.0
// The register tiles of the products. Included only by kernels/cpu/*.cc.
#pragma once

#include <stdint.h>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/simd.h"

namespace temper::kernels {
namespace TEMPER_ISA {

// Vectors of a panel's row, and of a register tile's.
constexpr int kWidth = kPanel / kLanes;

template <int kRows>
struct Rows {
  static constexpr int value = kRows;
};

// Calls body(Rows<rows>) for 1 <= rows <= kMost.
template <int kMost, typename Body>
inline void WithRows(int64_t rows, const Body& body) {
  if constexpr (kMost > 1) {
    if (rows < kMost) return WithRows<kMost - 1>(rows, body);
  }
  body(Rows<kMost>());
}

// So many steps ahead, and no more lines than one set of the first cache holds.
constexpr int64_t kAhead = 8;

// Memory that is wanted soon, rows of some bytes. It is fetched into the second cache line by line while
// chains are computed: many lines at once would hold up the loads of the chains.
struct Fetch {
  const char* next = nullptr;
  const char* row_end = nullptr;
  int64_t bytes = 0, stride = 0;
  int64_t rows = 0;  // left

  Fetch() = default;
  // `begin` may be null: nothing.
  Fetch(const void* begin, int64_t row_bytes, int64_t count = 1, int64_t apart = 0)
      : next(static_cast<const char*>(begin)),
        row_end(next + row_bytes),
        bytes(row_bytes),
        stride(apart),
        rows(begin == nullptr ? 0 : count) {}

  bool done() const { return rows <= 0; }
  int64_t lines() const { return rows * ((bytes + 63) / 64); }
  inline void Line() {
    __builtin_prefetch(next, 0, 2);
    next += 64;
    if (next < row_end) return;
    --rows;
    row_end += stride;
    next = row_end - bytes;
  }
};

// One step of R rows x kPanel columns: row r's factor is at a[r * stride].
template <int R>
inline void Step(const float* a, int64_t stride, const F16 (&b)[kWidth], F16 (&acc)[kWidth * R]) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    const F16 x = Set(a[r * stride]);
#pragma GCC unroll 2
    for (int v = 0; v < kWidth; ++v) acc[kWidth * r + v] = Fma(x, b[v], acc[kWidth * r + v]);
  }
}

// k steps of rows and a panel. a's element of row r and step i is at r * stride + i, or, if it is packed in
// columns, at r + i * stride.
struct Walk {
  const float* a;
  int64_t stride;
  const float* panel;
  int64_t panel_step;
  int64_t k;
};

// Goes on with the chains of R rows x kPanel columns. With kFar the panel's steps lie in pages of their own
// and are fetched ahead; with kCopy it is packed to `copy` on the way.
template <int R, bool kColumns, bool kFar = false, bool kCopy = false>
inline void Chains(const Walk& walk, F16 (&acc)[kWidth * R], float* copy = nullptr) {
  const float *a = walk.a, *panel = walk.panel;
  const int64_t stride = walk.stride, panel_step = walk.panel_step, k = walk.k;
#pragma GCC unroll 2
  for (int64_t i = 0; i < k; ++i) {
    F16 b[kWidth];
#pragma GCC unroll 2
    for (int v = 0; v < kWidth; ++v) {
      b[v] = Load(panel + v * kLanes);
      if (kFar) __builtin_prefetch(panel + kAhead * panel_step + v * kLanes);
      if (kCopy) Store(copy + i * kPanel + v * kLanes, b[v]);
    }
    panel += panel_step;
    Step<R>(a, kColumns ? 1 : stride, b, acc);
    a += kColumns ? stride : 1;
  }
}

// The same over a packed panel, and a line is fetched every kEvery steps; two lines every step where it is 0.
template <int R, bool kColumns, int kEvery>
inline void ChainsFetching(const Walk& walk, F16 (&acc)[kWidth * R], Fetch& fetch) {
  const float *a = walk.a, *panel = walk.panel;
  const int64_t stride = walk.stride, k = walk.k;
  constexpr int kSteps = kEvery == 0 ? 1 : kEvery;
  int64_t i = 0;
  for (; i + kSteps <= k; i += kSteps) {
    fetch.Line();
    if (kEvery == 0) fetch.Line();
#pragma GCC unroll 4
    for (int j = 0; j < kSteps; ++j) {
      F16 b[kWidth];
#pragma GCC unroll 2
      for (int v = 0; v < kWidth; ++v) b[v] = Load(panel + v * kLanes);
      panel += kPanel;
      Step<R>(a, kColumns ? 1 : stride, b, acc);
      a += kColumns ? stride : 1;
    }
  }
  Chains<R, kColumns>({a, stride, panel, kPanel, k - i}, acc);
}

template <int N>
inline void Zero(F16 (&acc)[N]) {
#pragma GCC unroll 32
  for (int i = 0; i < N; ++i) acc[i] = Set(0.0f);
}

// The binary tree over the chunks of an axis, for N vectors at once: as a binary counter, equal-sized
// subtrees add, left + right.
template <int N>
struct ChunkTree {
  float pending[3][N * kLanes];

  // acc holds chunk c of `chunks`; after the last one it holds the sum.
  inline void Push(int c, int chunks, F16 (&acc)[N]) {
    int level = 0;
    for (int bits = c; bits & 1; bits >>= 1, ++level) {
#pragma GCC unroll 32
      for (int i = 0; i < N; ++i) acc[i] = Add(Load(pending[level] + i * kLanes), acc[i]);
    }
    if (c + 1 == chunks) return;
#pragma GCC unroll 32
    for (int i = 0; i < N; ++i) Store(pending[level] + i * kLanes, acc[i]);
  }
};

// The same over arrays: acc[count] holds chunk c; what is pending lies behind it, 3 more arrays of that size.
inline void PushArrays(int c, int chunks, int64_t count, float* acc) {
  float* pending = acc + count;
  for (int bits = c; bits & 1; bits >>= 1, pending += count) {
    for (int64_t i = 0; i < count; i += kLanes) Store(acc + i, Add(Load(pending + i), Load(acc + i)));
  }
  if (c + 1 == chunks) return;
  for (int64_t i = 0; i < count; i += kLanes) Store(pending + i, Load(acc + i));
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
