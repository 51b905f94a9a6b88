// SPDX-License-Identifier: Apache-2.0
// WeightGradients and BiasGradient of kernels/gemm.h.
#include <algorithm>

#include "core/check.h"
#include "core/huge_pages.h"
#include "kernels/backends/cpu.h"
#include "kernels/cpu/gemm.h"
#include "kernels/gemm.h"
#include "kernels/isa.h"
#include "kernels/pieces.h"

namespace temper::kernels {
namespace {

constexpr int64_t kRows = 48;  // rows of dw in a piece

// Columns of dw in a piece.
int64_t Columns(const WeightGradient& g) { return g.m() <= kFewRows ? 4096 : 512; }

// Rows this far apart (floats) fall into few sets of the first cache: they are packed. So are many that are
// less far apart.
bool WorthPacking(const WeightGradient& g) {
  return g.m() > 32 && g.n() >= 64 && g.k() >= 64 &&
         std::max(g.x.stride, g.dy.stride) >= (g.m() >= 512 ? 256 : 512);
}

// A large gradient: all threads pack a block of x's rows in panels, then each packs the columns of dy that it
// needs.
void PackedGradient(const WeightGradient& g, ThreadPool& pool) {
  static thread_local FloatBuffer buffer;
  const auto pack_panel = TEMPER_DISPATCH(PackPanel);
  const auto pack_columns = TEMPER_DISPATCH(PackColumns);
  const auto compute = TEMPER_DISPATCH(ComputeGradient);
  const TileShape shape = *TEMPER_DISPATCH(kTile);
  const int64_t panels = Ceil(g.k(), shape.columns), row_blocks = Ceil(g.n(), kRows);
  // Fewer columns a piece where there are too few rows for the threads.
  const int64_t groups = std::min(panels, Ceil(4 * pool.threads(), row_blocks)), group = Ceil(panels, groups);
  for (int64_t begin = 0; begin < g.m(); begin += kGradientRows) {
    const int64_t m = std::min(kGradientRows, g.m() - begin);
    const float *dy = g.dy.Row(begin), *x = g.x.Row(begin);
    float* packed = buffer.Reserve(panels * m * shape.columns);
    pool.ParallelFor(panels, kColumnsTogether / shape.columns, [&](int64_t first, int64_t last) {
      const int64_t column = first * shape.columns;
      pack_panel({x + column, g.x.stride, static_cast<int>(std::min(last * shape.columns, g.k()) - column), m,
                  m * shape.columns},
                 false, packed + column * m);
    });
    pool.ParallelFor(row_blocks * Ceil(panels, group), 1, [&](int64_t first, int64_t last) {
      for (int64_t piece = first; piece < last; ++piece) {
        const int64_t row = piece % row_blocks * kRows, panel = piece / row_blocks * group;
        const int64_t rows = std::min(kRows, g.n() - row), column = panel * shape.columns;
        float* tiles = Scratch(kRows * m);
        for (int64_t j = 0; j < rows; j += shape.rows) {
          pack_columns(
              {dy + row + j, g.dy.stride, static_cast<int>(std::min<int64_t>(shape.rows, rows - j)), m},
              tiles + j * m);
        }
        compute({.dy = tiles,
                 .dy_step = shape.rows,
                 .dy_tile = shape.rows * m,
                 .x = packed + column * m,
                 .x_step = shape.columns,
                 .x_panel = m * shape.columns,
                 .packed = true,
                 .dw = g.dw.Row(row) + column,
                 .lddw = g.dw.stride,
                 .m = m,
                 .n = rows,
                 .k = std::min(group * shape.columns, g.k() - column)},
                nullptr);
      }
    });
  }
}

}  // namespace

void CpuBackend::WeightGradients(absl::Span<const WeightGradient> gradients) {
  static thread_local Pieces pieces;
  pieces.Clear();
  for (const WeightGradient& g : gradients) {
    TEMPER_CHECK(g.x.rows == g.m() && g.dw.rows == g.n() && g.dw.cols == g.k(), "dy is ", g.m(), " x ", g.n(),
                 ", x ", g.x.rows, " x ", g.k(), ", dw ", g.dw.rows, " x ", g.dw.cols);
    const bool packed = WorthPacking(g);
    if (packed) PackedGradient(g, pool());
    pieces.Add(g.m() == 0 || packed ? 0 : Ceil(g.n(), kRows) * Ceil(g.k(), Columns(g)),
               static_cast<double>(g.m() + 8) * g.n() * g.k());
  }
  const TileShape shape = *TEMPER_DISPATCH(kTile);
  const auto compute = TEMPER_DISPATCH(ComputeGradient);
  pieces.Run(pool(), [&](size_t index, int64_t local) {
    const WeightGradient& g = gradients[index];
    const int64_t columns = Columns(g), groups = Ceil(g.k(), columns);
    const int64_t row = local / groups * kRows, column = local % groups * columns;
    compute({.dy = g.dy.f32() + row,
             .dy_step = g.dy.stride,
             .dy_tile = shape.rows,
             .x = g.x.f32() + column,
             .x_step = g.x.stride,
             .x_panel = shape.columns,
             .packed = false,
             .dw = g.dw.Row(row) + column,
             .lddw = g.dw.stride,
             .m = g.m(),
             .n = std::min(kRows, g.n() - row),
             .k = std::min(columns, g.k() - column)},
            Scratch(kGradientRows * shape.columns));
  });
}

void CpuBackend::BiasGradient(const Matrix& dy, float* dbias) {
  const auto sum = TEMPER_DISPATCH(SumColumns);
  pool().ParallelFor(Ceil(dy.cols, 16), 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int count = static_cast<int>(std::min<int64_t>(16, dy.cols - i * 16));
      sum({dy.f32() + i * 16, dy.stride, count, dy.rows}, dbias + i * 16);
    }
  });
}

}  // namespace temper::kernels
