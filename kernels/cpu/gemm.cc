// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/gemm.h"

#include "kernels/cpu/simd.h"
#include "kernels/cpu/tile.h"
#include "kernels/cpu/transpose.h"

namespace temper::kernels {
namespace TEMPER_ISA {
namespace {

constexpr int kPanel = 32;
// Steps of a chunk for which a row alone fetches ahead.
constexpr int64_t kWindow = 64;

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

// R rows of the panel at `panel`; with kCopy of the panel as it is in b [k, n], which is packed to `copy` on
// the way; with kEvery > 0 a line of `fetch` is fetched every so many steps.
template <int R, bool kColumns, bool kCopy = false, int kEvery = 0>
void Tile(const PanelTask& t, const float* panel, int64_t row, float* copy = nullptr,
          Fetch* fetch = nullptr) {
  const float* a = kColumns ? t.a + row * t.k : t.a + row * t.lda;
  const int64_t stride = kColumns ? kTileRows : t.lda;
  ChunkTree<2 * R> tree;
  F16 acc[2 * R];
  for (int c = 0; c < t.k_chunks; ++c) {
    const int64_t begin = ChunkBegin(t, c), count = ChunkBegin(t, c + 1) - begin;
    Zero(acc);
    const float* from = kColumns ? a + begin * kTileRows : a + begin;
    if (kCopy) {
      Chains<R, kColumns, true, true>(from, stride, t.b + begin * t.ldb, t.ldb, count, acc,
                                      copy + begin * kPanel);
    } else if constexpr (kEvery > 0) {
      ChainsFetching<R, kColumns, kEvery>(from, stride, panel + begin * kPanel, count, acc, *fetch);
    } else {
      Chains<R, kColumns>(from, stride, panel + begin * kPanel, kPanel, count, acc);
    }
    tree.Push(c, t.k_chunks, acc);
  }
  Finish<R>(t, row, acc);
}

template <bool kColumns>
void Tiles(const PanelTask& t, const float* panel, Fetch& fetch, int64_t row = 0) {
  // Of the next panel's 2 lines a step, each tile fetches a half or a quarter.
  const bool many = t.rows >= 8 * kTileRows;
  for (; row + kTileRows <= t.rows; row += kTileRows) {
    if (fetch.done()) {
      Tile<kTileRows, kColumns>(t, panel, row);
    } else if (many) {
      Tile<kTileRows, kColumns, false, 4>(t, panel, row, nullptr, &fetch);
    } else {
      Tile<kTileRows, kColumns, false, 2>(t, panel, row, nullptr, &fetch);
    }
  }
  if (row == t.rows) return;
  WithRows<kTileRows - 1>(t.rows - row,
                          [&](auto rows) { Tile<decltype(rows)::value, kColumns>(t, panel, row); });
}

// A panel that is not packed: transposed or not whole, it is packed first; else while the first tile reads
// it.
template <bool kColumns>
void PackAndTiles(const PanelTask& t, float* scratch) {
  Fetch none;
  const bool together = !t.b_transposed && t.cols == kPanel;
  if (together) {
    Tile<kTileRows, kColumns, true>(t, nullptr, 0, scratch);
  } else {
    PackPanel(t.b, t.ldb, t.b_transposed, t.cols, t.k, scratch);
  }
  Tiles<kColumns>(t, scratch, none, together ? kTileRows : 0);
}

// Few rows: packs a little of the panel, unless it can be read as it is, and carries the chains on.
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
      if (!t.b_transposed && t.cols == kPanel) {
        Chains<R, false, true>(t.a + begin, t.lda, t.b + begin * t.ldb, t.ldb, count, acc);
        continue;
      }
      PackPanel(t.b_transposed ? t.b + begin : t.b + begin * t.ldb, t.ldb, t.b_transposed, t.cols, count,
                scratch);
      Chains<R, false>(t.a + begin, t.lda, scratch, kPanel, count, acc);
    }
    tree.Push(c, t.k_chunks, acc);
  }
  Finish<R>(t, 0, acc);
}

// b [k, n], read in place along its rows, several at a time. The accumulators, [R][cols], are in the scratch
// memory.
template <int R>
void AlongRows(const PanelTask& t, float* scratch) {
  constexpr int kRows = R == 1 ? 8 : 4;
  const int64_t width = (t.cols + kLanes - 1) / kLanes * kLanes;
  float* acc = scratch;
  const auto step = [&](int64_t i, auto rows, int64_t c, int lanes) {
    constexpr int kCount = decltype(rows)::value;
    F16 x[kCount];
#pragma GCC unroll 8
    for (int j = 0; j < kCount; ++j) {
      const float* b = t.b + (i + j) * t.ldb + c;
      __builtin_prefetch(b + kCount * t.ldb);
      x[j] = lanes == kLanes ? Load(b) : LoadFirst(b, lanes);
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      F16 y = Load(acc + r * width + c);
#pragma GCC unroll 8
      for (int j = 0; j < kCount; ++j) y = Fma(Set(t.a[r * t.lda + i + j]), x[j], y);
      Store(acc + r * width + c, y);
    }
  };
  const auto sweep = [&](int64_t i, auto rows) {
    int64_t c = 0;
    for (; c + kLanes <= t.cols; c += kLanes) step(i, rows, c, kLanes);
    if (c < t.cols) step(i, rows, c, static_cast<int>(t.cols - c));
  };
  for (int chunk = 0; chunk < t.k_chunks; ++chunk) {
    for (int64_t c = 0; c < R * width; c += kLanes) Store(acc + c, Set(0.0f));
    const int64_t end = ChunkBegin(t, chunk + 1);
    int64_t i = ChunkBegin(t, chunk);
    for (; i + kRows <= end; i += kRows) sweep(i, Rows<kRows>());
    for (; i < end; ++i) sweep(i, Rows<1>());
    PushArrays(chunk, t.k_chunks, R * width, acc);
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < t.cols; c += kLanes) FinishVector(t, r, c, t.cols - c, Load(acc + r * width + c));
  }
}

#if defined(TEMPER_ISA_avx512)
// b [n, k], 16 kHalves of its rows from `column` on, transposed in registers. Chunks have at least 16 steps.
template <int R, int kHalves>
void TransposedTile(const PanelTask& t, int column) {
  ChunkTree<kHalves * R> tree;
  F16 acc[kHalves * R];
  // The last `steps` of the 16 columns from i on.
  const auto block = [&](int64_t i, int steps) {
#pragma GCC unroll 2
    for (int half = 0; half < kHalves; ++half) {
      const Block16 block = LoadBlock(t.b + (column + half * kLanes) * t.ldb + i, t.ldb);
#pragma GCC unroll 16
      for (int s = 0; s < kLanes; ++s) {
        if (s < kLanes - steps) continue;
        const F16 x = Column(block, s);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          acc[kHalves * r + half] = Fma(Set(t.a[r * t.lda + i + s]), x, acc[kHalves * r + half]);
        }
      }
    }
  };
  for (int c = 0; c < t.k_chunks; ++c) {
    Zero(acc);
    const int64_t end = ChunkBegin(t, c + 1);
    int64_t i = ChunkBegin(t, c);
    for (; i + kLanes <= end; i += kLanes) block(i, kLanes);
    if (i < end) block(end - kLanes, static_cast<int>(end - i));
    tree.Push(c, t.k_chunks, acc);
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
inline void ChunksOfRows(const PanelTask& t, int64_t steps, const float* x, int column) {
  // Meanwhile the next window of each chunk is fetched, at last the next four rows' first one: no further
  // ahead than stays in the first cache.
  const int64_t window = steps % kWindow == 0 ? kWindow : steps;
  const float* b = t.b + column * t.ldb;
  F16 acc[2] = {Set(0.0f), Set(0.0f)};
  for (int64_t i = 0, end = window; end <= steps; end += window) {
    const float* ahead = end == steps ? b + 4 * t.ldb : b + end;
    int64_t left = window;
    for (; i < end; i += 8) {
#pragma GCC unroll 8
      for (int line = 0; line < 16; line += 2) {
        __builtin_prefetch(ahead);
        __builtin_prefetch(ahead + kLanes);
        ahead += 2 * kLanes;
        left -= 2 * kLanes;
        if (left <= 0) {
          ahead += steps - window;
          left = window;
        }
      }
#pragma GCC unroll 2
      for (int pair = 0; pair < 2; ++pair) {
        F16 columns[8];
        LoadChunks(b + 2 * pair * t.ldb + i, steps, t.ldb, columns);
#pragma GCC unroll 8
        for (int s = 0; s < 8; ++s) acc[pair] = Fma(Load(x + (i + s) * kLanes), columns[s], acc[pair]);
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
int Transposed(const PanelTask& t, float* scratch) {
  const int64_t steps = t.k / t.k_chunks;
  int column = 0;
  if (steps < kLanes) return 0;
  if (t.rows == 1 && t.k_chunks == 8 && t.k % (8 * kLanes) == 0) {
    for (int64_t i = 0; i < steps; i += kLanes) {
      const Block16 block = LoadBlock(t.a + i, steps, kLanes, 0);
#pragma GCC unroll 16
      for (int s = 0; s < kLanes; ++s) Store(scratch + (i + s) * kLanes, Column(block, s));
    }
    for (; column + 4 <= t.cols; column += 4) ChunksOfRows(t, steps, scratch, column);
    return column;
  }
  // Rows of b this far apart fall into one set of the first cache.
  const bool one_set = t.ldb % 1024 == 0;
  WithRows<kDirectRows>(t.rows, [&](auto rows) {
    constexpr int kCount = decltype(rows)::value;
    if (!one_set && kCount == 1) {
      for (; column + 2 * kLanes <= t.cols; column += 2 * kLanes) TransposedTile<kCount, 2>(t, column);
    }
    for (; column + kLanes <= t.cols; column += kLanes) TransposedTile<kCount, 1>(t, column);
  });
  return column;
}
#endif

// The columns of a task from `column` on, at most `cols` of them.
PanelTask PartOf(const PanelTask& t, int column, int cols) {
  PanelTask part = t;
  part.b += t.b_transposed ? column * t.ldb : column;
  part.c += column;
  if (t.bias != nullptr) part.bias += column;
  if (t.add != nullptr) part.add += column;
  part.cols = t.cols - column < cols ? t.cols - column : cols;
  return part;
}

// Few rows against columns that are read once.
void Direct(const PanelTask& t, float* scratch) {
  int column = 0;
#if defined(TEMPER_ISA_avx512)
  if (t.b_transposed) column = Transposed(t, scratch);
#endif
  for (; t.b_transposed && column < t.cols; column += kPanel) {
    const PanelTask part = PartOf(t, column, kPanel);
    WithRows<kDirectRows>(t.rows, [&](auto rows) { PackAsYouGo<decltype(rows)::value>(part, scratch); });
  }
  if (t.b_transposed) return;
  WithRows<kDirectRowsAlong>(t.rows, [&](auto rows) { AlongRows<decltype(rows)::value>(t, scratch); });
}

}  // namespace

void ComputePanel(const PanelTask& t, float* scratch) {
  Fetch fetch(t.next, t.k * kPanel);
  const auto tiles = [&](const PanelTask& part, const float* panel) {
    part.lda == 0 ? Tiles<true>(part, panel, fetch) : Tiles<false>(part, panel, fetch);
  };
  if (t.panel != nullptr) return tiles(t, t.panel);
  if (t.rows <= DirectRows(t.b_transposed, t.ldb)) return Direct(t, scratch);
  if (t.rows <= kTileRows) {
    return WithRows<kTileRows>(t.rows, [&](auto rows) { PackAsYouGo<decltype(rows)::value>(t, scratch); });
  }
  if (t.cols <= kPanel) return t.lda == 0 ? PackAndTiles<true>(t, scratch) : PackAndTiles<false>(t, scratch);
  PackPanel(t.b, t.ldb, t.b_transposed, t.cols, t.k, scratch);
  for (int column = 0; column < t.cols; column += kPanel, scratch += t.k * kPanel) {
    tiles(PartOf(t, column, kPanel), scratch);
  }
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
