// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/gemm.h"

#include "kernels/cpu/panel.h"
#include "kernels/cpu/simd.h"
#include "kernels/cpu/tile.h"

namespace temper::kernels {
namespace TEMPER_ISA {
namespace {

// R rows of the panel at `panel`; with kCopy of the panel as it is in b [k, n], which is packed to `copy` on
// the way; with kEvery > 0 a line of `fetch` is fetched every so many steps.
template <int R, bool kColumns, bool kCopy = false, int kEvery = 0>
void Tile(const PanelTask& t, const float* panel, int64_t row, float* copy = nullptr,
          Fetch* fetch = nullptr) {
  ChunkTree<kWidth * R> tree;
  F16 acc[kWidth * R];
  for (int c = 0; c < t.chunks; ++c) {
    Zero(acc);
    for (int f = 0; f < t.factor_count; ++f) {
      const PanelFactors& x = t.factors[f];
      const int64_t begin = ChunkBegin(t, x, c), count = ChunkBegin(t, x, c + 1) - begin;
      const int64_t stride = kColumns ? kTileRows : x.lda, at = (x.first + begin) * kPanel;
      const float* a = x.a + (kColumns ? row * t.k + begin * kTileRows : row * x.lda + begin);
      if (kCopy) {
        const float* const b = static_cast<const float*>(At(t, x, 0, begin));
        Chains<R, kColumns, true, true>({a, stride, b, x.ldb, count}, acc, copy + at);
      } else if constexpr (kEvery > 0) {
        ChainsFetching<R, kColumns, kEvery>({a, stride, panel + at, kPanel, count}, acc, *fetch);
      } else {
        Chains<R, kColumns>({a, stride, panel + at, kPanel, count}, acc);
      }
    }
    tree.Push(c, t.chunks, acc);
  }
  Finish<R>(t, row, acc);
}

// R rows of P packed panels at once, of one pair of factors.
template <int R, int P>
void Across(const PanelTask& t) {
  const PanelFactors& x = t.factors[0];
  ChunkTree<P * kWidth * R> tree;
  F16 acc[P * kWidth * R];
  for (int c = 0; c < t.chunks; ++c) {
    const int64_t end = ChunkBegin(t, x, c + 1);
    Zero(acc);
#pragma GCC unroll 2
    for (int64_t i = ChunkBegin(t, x, c); i < end; ++i) {
      F16 a[R];
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) a[r] = Set(x.a[r * x.lda + i]);
#pragma GCC unroll 8
      for (int v = 0; v < P * kWidth; ++v) {
        const F16 b = Load(t.panel + v / kWidth * t.k * kPanel + i * kPanel + v % kWidth * kLanes);
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r) acc[P * kWidth * r + v] = Fma(a[r], b, acc[P * kWidth * r + v]);
      }
    }
    tree.Push(c, t.chunks, acc);
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < P * kWidth && v * kLanes < t.cols; ++v) {
      FinishVector(t, r, v * kLanes, t.cols - v * kLanes, acc[P * kWidth * r + v]);
    }
  }
}

template <bool kColumns>
void Tiles(const PanelTask& t, const float* panel, Fetch& fetch, int64_t row = 0) {
  // Of the next panel's lines, each tile fetches a part.
  const int64_t steps_a_line = fetch.done() ? 0 : (t.rows - row) / kTileRows * t.k / fetch.lines();
  // So few rows over do not fill the pipes: they share with the last whole tile.
  const int64_t over = t.rows % kTileRows, whole = t.rows - over;
  const int64_t end =
      kColumns || over == 0 || 3 * over > kTileRows || whole == row ? whole : whole - kTileRows;
  for (; row < end; row += kTileRows) {
    if (fetch.done()) {
      Tile<kTileRows, kColumns>(t, panel, row);
    } else if (steps_a_line >= 4) {
      Tile<kTileRows, kColumns, false, 4>(t, panel, row, nullptr, &fetch);
    } else if (steps_a_line >= 2) {
      Tile<kTileRows, kColumns, false, 2>(t, panel, row, nullptr, &fetch);
    } else {
      Tile<kTileRows, kColumns, false, 1>(t, panel, row, nullptr, &fetch);
    }
  }
  const auto rest = [&](int64_t count) {
    WithRows<kTileRows - 1>(count, [&](auto rows) {
      constexpr int kRows = decltype(rows)::value;
      if (fetch.done()) {
        Tile<kRows, kColumns>(t, panel, row);
      } else {
        Tile<kRows, kColumns, false, 1>(t, panel, row, nullptr, &fetch);
      }
    });
    row += count;
  };
  if (end < whole) rest((t.rows - row + 1) / 2);
  if (row < t.rows) rest(t.rows - row);
}

// The columns of a task, as they are in b, to panels [k][kPanel].
void PackColumnsOf(const PanelTask& t, float* panels) {
  for (int f = 0; f < t.factor_count; ++f) {
    const PanelFactors& x = t.factors[f];
    PackPanel({x.b, x.ldb, t.cols, x.k, t.k * kPanel, t.b_bf16}, t.b_transposed, panels + x.first * kPanel);
  }
}

// A panel that is not packed: transposed or not whole, it is packed first; else while the first tile reads
// it.
template <bool kColumns>
void PackAndTiles(const PanelTask& t, float* scratch) {
  // The next columns' rows lie in pages of their own, which no processor foresees.
  const PanelFactors& x = t.factors[0];
  Fetch next(t.next, x.k * t.b_bytes(), t.cols, x.ldb * t.b_bytes());
  const bool together = !t.b_transposed && !t.b_bf16 && t.cols == kPanel;
  if (together) {
    Tile<kTileRows, kColumns, true>(t, nullptr, 0, scratch);
  } else {
    PackColumnsOf(t, scratch);
  }
  Tiles<kColumns>(t, scratch, next, together ? kTileRows : 0);
}

}  // namespace

void ComputePanel(const PanelTask& t, float* scratch) {
  Fetch fetch(t.next, t.k * kPanel * 4);
  const bool columns = t.factors[0].lda == 0;
  const auto tiles = [&](const PanelTask& part, const float* panel) {
    columns ? Tiles<true>(part, panel, fetch) : Tiles<false>(part, panel, fetch);
  };
  if (t.panel != nullptr && t.rows == 1 && t.factor_count == 1) {
    return WithRows<4>((t.cols + kPanel - 1) / kPanel,
                       [&](auto panels) { Across<1, decltype(panels)::value>(t); });
  }
  if (t.panel != nullptr && t.rows == 2 && t.factor_count == 1) {
    return WithRows<2>((t.cols + kPanel - 1) / kPanel,
                       [&](auto panels) { Across<2, decltype(panels)::value>(t); });
  }
  if (t.panel != nullptr) return tiles(t, t.panel);
  if (t.rows <= kPackRows || t.rows <= DirectRows(t.b_transposed, t.factors[0].ldb))
    return ComputeFewRows(t, scratch);
  if (t.cols <= kPanel) return columns ? PackAndTiles<true>(t, scratch) : PackAndTiles<false>(t, scratch);
  PackColumnsOf(t, scratch);
  for (int column = 0; column < t.cols; column += kPanel, scratch += t.k * kPanel) {
    tiles(PartOf(t, column, kPanel), scratch);
  }
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
