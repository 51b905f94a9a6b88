// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/tile.h"

namespace temper::kernels {
namespace TEMPER_ISA {
namespace {

// Rows of x that are read in place at a time: some stay in the first cache.
constexpr int64_t kInPlaceRows = 128;
// From so many rows on the next panel is worth fetching.
constexpr int64_t kFetchedRows = 256;

inline F16 Read(const float* p, int lanes) {
  return lanes >= kLanes ? Load(p) : LoadFirst(p, lanes < 0 ? 0 : lanes);
}
inline void Write(float* p, F16 a, int lanes) {
  if (lanes >= kLanes) {
    Store(p, a);
  } else if (lanes > 0) {
    StoreFirst(p, a, lanes);
  }
}

// R rows of dw (columns of dy) x at most kPanel columns of x, chains over the walk's rows; with kEvery > 0 (x
// is packed) a line of `fetch` is fetched every so many.
template <int R, int kEvery = 0>
void GradientTile(const GradientTask& t, const Walk& walk, float* dw, int cols, Fetch& fetch) {
  F16 acc[kWidth * R];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kWidth; ++v) {
      acc[kWidth * r + v] = Read(dw + r * t.lddw + v * kLanes, cols - v * kLanes);
    }
  }
  if constexpr (kEvery > 0) {
    ChainsFetching<R, true, kEvery>(walk, acc, fetch);
  } else {
    Chains<R, true>(walk, acc);
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kWidth; ++v) {
      Write(dw + r * t.lddw + v * kLanes, acc[kWidth * r + v], cols - v * kLanes);
    }
  }
}

// Tile j of kTileRows rows, panel p, over rows [begin, begin + m) of dy and x. Meanwhile tile `next_j`,
// `next_p` of dw, lines of as many pages, is fetched.
struct Place {
  int64_t j, p;
  int64_t next_j, next_p;
  int64_t begin, m;
};

inline void OneTile(const GradientTask& t, const Place& place, float* scratch, Fetch& fetch) {
  const int64_t j = place.j, p = place.p, begin = place.begin, m = place.m;
  const float* next = t.dw + place.next_j * kTileRows * t.lddw + place.next_p * kPanel;
#pragma GCC unroll 12
  for (int r = 0; r < kTileRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kWidth; ++v) __builtin_prefetch(next + r * t.lddw + v * kLanes, 1);
  }
  const int64_t rows = t.n - j * kTileRows < kTileRows ? t.n - j * kTileRows : kTileRows;
  const int64_t left = t.k - p * kPanel;
  const int cols = left < kPanel ? static_cast<int>(left) : kPanel;
  const float* dy = t.dy + j * t.dy_tile + begin * t.dy_step;
  const float* x = t.x + p * t.x_panel + begin * t.x_step;
  int64_t x_step = t.x_step;
  if (cols < kPanel && !t.packed) {
    PackPanel({x, t.x_step, cols, m}, false, scratch);
    x = scratch;
    x_step = kPanel;
  }
  float* dw = t.dw + j * kTileRows * t.lddw + p * kPanel;
  const Walk walk{dy, t.dy_step, x, x_step, m};
  if (rows == kTileRows && !fetch.done()) {
    return GradientTile<kTileRows, 2>(t, walk, dw, cols, fetch);
  }
  WithRows<kTileRows>(rows, [&](auto r) { GradientTile<decltype(r)::value>(t, walk, dw, cols, fetch); });
}

// Up to kFewRows rows of dy and x: along the rows of dw, kJ of them at a time, whose way to memory and back
// is what counts.
template <int kM, int kJ>
void AlongRows(const GradientTask& t, int64_t j) {
  F16 dy[kJ][kM];
#pragma GCC unroll 2
  for (int q = 0; q < kJ; ++q) {
#pragma GCC unroll 8
    for (int i = 0; i < kM; ++i) dy[q][i] = Set(t.dy[i * t.dy_step + j + q]);
  }
  float* dw = t.dw + j * t.lddw;
  for (int64_t c = 0; c < t.k; c += kLanes) {
    const int lanes = t.k - c < kLanes ? static_cast<int>(t.k - c) : kLanes;
    F16 acc[kJ];
#pragma GCC unroll 2
    for (int q = 0; q < kJ; ++q) {
      __builtin_prefetch(dw + (q + kJ) * t.lddw + c, 1);
      acc[q] = Read(dw + q * t.lddw + c, lanes);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kM; ++i) {
      const F16 x = Read(t.x + i * t.x_step + c, lanes);
#pragma GCC unroll 2
      for (int q = 0; q < kJ; ++q) acc[q] = Fma(dy[q][i], x, acc[q]);
    }
#pragma GCC unroll 2
    for (int q = 0; q < kJ; ++q) Write(dw + q * t.lddw + c, acc[q], lanes);
  }
}

}  // namespace

void ComputeGradient(const GradientTask& t, float* scratch) {
  if (!t.packed && t.m > 0 && t.m <= kFewRows) {
    return WithRows<kFewRows>(t.m, [&](auto rows) {
      constexpr int kM = decltype(rows)::value;
      int64_t j = 0;
      for (; j + 2 <= t.n; j += 2) AlongRows<kM, 2>(t, j);
      if (j < t.n) AlongRows<kM, 1>(t, j);
    });
  }
  Fetch none;
  const int64_t tiles = (t.n + kTileRows - 1) / kTileRows, panels = (t.k + kPanel - 1) / kPanel;
  const int64_t most = t.packed ? kGradientRows : kInPlaceRows;
  for (int64_t begin = 0; begin < t.m; begin += most) {
    const int64_t m = t.m - begin < most ? t.m - begin : most;
    if (t.packed) {
      for (int64_t p = 0; p < panels; ++p) {
        const float* next = p + 1 < panels && t.m >= kFetchedRows ? t.x + (p + 1) * t.x_panel : nullptr;
        Fetch fetch(next, m * kPanel * 4);
        for (int64_t j = 0; j < tiles; ++j) {
          const bool last = j + 1 == tiles;
          OneTile(t, {j, p, last ? 0 : j + 1, last ? p + 1 : p, begin, m}, scratch, fetch);
        }
      }
    } else {
      // Along the rows of dw, whose traffic counts where m is small.
      for (int64_t j = 0; j < tiles; ++j) {
        for (int64_t p = 0; p < panels; ++p) OneTile(t, {j, p, j, p + 1, begin, m}, scratch, none);
      }
    }
  }
}

void SumColumns(const Strip& columns, float* out) {
  const int cols = columns.count;
  F16 acc = LoadFirst(out, cols);
  const float* const data = static_cast<const float*>(columns.data);
  for (int64_t i = 0; i < columns.length; ++i) acc = Add(acc, LoadFirst(data + i * columns.ld, cols));
  StoreFirst(out, acc, cols);
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
