// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm.h"

#include <algorithm>

#include "core/check.h"
#include "core/huge_pages.h"
#include "kernels/backends/cpu.h"
#include "kernels/cpu/gemm.h"
#include "kernels/isa.h"
#include "kernels/pieces.h"

namespace temper::kernels {
namespace {

// Rows of a piece that shares a panel with others: enough to make the panel's way into the cache worth it.
constexpr int64_t kRowBlock = 240;
// Floats of such a block of rows.
constexpr int64_t kBlockFloats = int64_t{1} << 17;
// Rows this far apart (floats) fall into few sets of the first cache: tiles of them are packed.
constexpr int64_t kFarRows = 512;
// Steps of b so far apart (floats) lie in more pages than the processor remembers: where there are rows
// enough to pay for it, several panels are packed in one visit.
constexpr int64_t kManyPages = 2048;
// Floats of b that the second cache keeps.
constexpr int64_t kStaysFloats = int64_t{1} << 18;
// Floats of a, and of b, packed at a time.
constexpr int64_t kPackedFloats = int64_t{4} << 20;

// How one product is cut.
struct Cut {
  int64_t width, panels, rows, blocks;
};

Cut CutOf(const Product& p, int threads) {
  const TileShape tile = *TEMPER_DISPATCH(kTile);
  Cut cut;
  cut.width = tile.columns;
  if (p.packed == nullptr && p.m() <= DirectRows(p.b_transposed, p.b.stride)) {
    // Rows of b [k, n] lie in pages of their own: of each as much as there is for a thread.
    const int64_t share = Ceil(Ceil(p.n(), p.b_transposed ? 2 * threads : threads), 128) * 128;
    cut.width = std::min<int64_t>(share, kWide);
  } else if (p.packed != nullptr) {
    cut.width *= PanelsAtOnce(p.m());
  } else if (!p.b_transposed && p.b.stride >= kManyPages && p.m() > kRowBlock / 2) {
    cut.width = kColumnsTogether;
  }
  cut.panels = Ceil(p.n(), cut.width);
  // Packed, a block of rows of a is to stay in the second cache.
  cut.blocks =
      Ceil(p.m(), p.packed == nullptr
                      ? kRowBlock
                      : std::clamp<int64_t>(kBlockFloats / std::max<int64_t>(p.k(), 1), 96, kRowBlock));
  // A panel packed on the fly is packed once for each block.
  if (p.packed == nullptr)
    cut.blocks = std::min(cut.blocks, Ceil(4 * threads, std::max<int64_t>(cut.panels, 1)));
  cut.rows = Ceil(Ceil(p.m(), std::max<int64_t>(cut.blocks, 1)), tile.rows) * tile.rows;
  cut.blocks = Ceil(p.m(), std::max<int64_t>(cut.rows, 1));
  return cut;
}

// A product that is cut; `tiles` is a packed by PackTile, or null.
struct CutProduct {
  const Product& p;
  const Cut cut;
  const float* const tiles;
};

// Piece `local` of a product.
PanelTask TaskOf(const CutProduct& whole, int64_t local) {
  const Product& p = whole.p;
  const Cut& cut = whole.cut;
  // Packed, a block of rows stays in the second cache and the panels pass by; else a panel does, for all
  // rows.
  const int64_t panel = p.packed != nullptr ? local % cut.panels : local / cut.blocks;
  const int64_t row = (p.packed != nullptr ? local / cut.panels : local % cut.blocks) * cut.rows;
  const int64_t column = panel * cut.width;
  PanelTask task = {};
  task.rows = std::min(cut.rows, p.m() - row);
  // The few rows behind the last whole block go ways that take them as they are.
  const bool tiles = whole.tiles != nullptr && task.rows > kPackRows;
  task.a = tiles ? whole.tiles + row * p.k() : p.a.Row(row);
  task.lda = tiles ? 0 : p.a.stride;
  if (p.packed != nullptr) {
    task.panel = p.packed->panels + column * p.k();
    // A small weight too where one block of rows is all: since its last use the model has read all others.
    const bool away = cut.blocks == 1 || p.n() * p.k() >= kStaysFloats;
    if (panel + 1 < cut.panels && away) task.next = task.panel + p.k() * cut.width;
  } else {
    task.b = p.b_transposed ? p.b.Row(column) : p.b.f32() + column;
  }
  task.ldb = p.b.stride;
  task.b_transposed = p.b_transposed;
  task.c = p.c.Row(row) + column;
  task.ldc = p.c.stride;
  task.cols = static_cast<int>(std::min(cut.width, p.n() - column));
  task.k = p.k();
  task.k_chunks = p.k_chunks;
  task.bias = p.bias == nullptr ? nullptr : p.bias + column;
  task.add = p.add ? p.add.Row(row) + column : nullptr;
  task.ldadd = p.add.stride;
  return task;
}

void RunTask(void (*compute)(const PanelTask&, float*), const PanelTask& task) {
  compute(task, task.panel != nullptr ? nullptr : Scratch(PanelScratch(task.k)));
}

bool WorthTiles(const Product& p) {
  return p.m() >= 96 && p.n() >= 256 && p.k() >= 64 && p.a.stride >= kFarRows;
}
// From so many rows on, b is packed once for all of them: soonest where that goes over many pages, last
// where it is soon done again.
bool WorthPacking(const Product& p) {
  const bool large = p.n() * p.k() >= kStaysFloats, pages = !p.b_transposed && p.b.stride >= kManyPages;
  const int64_t rows = pages ? kRowBlock : large ? 3 * kRowBlock / 2 : 2 * kRowBlock;
  return p.packed == nullptr && p.m() > rows && p.n() >= 64;
}

// Rows of a, packed in tiles by all threads.
void PackTiles(const Matrix& a, float* tiles, ThreadPool& pool) {
  const auto pack = TEMPER_DISPATCH(PackTile);
  const int64_t rows = TEMPER_DISPATCH(kTile)->rows;
  pool.ParallelFor(Ceil(a.rows, rows), 2, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin * rows; row < std::min(end * rows, a.rows); row += rows)
      pack({a.Row(row), a.stride, static_cast<int>(std::min(rows, a.rows - row)), a.cols},
           tiles + row * a.cols);
  });
}

// A large product: packs columns of b and rows of a first, all threads together, then goes on with them.
void PackedProduct(const Product& whole, CpuBackend& backend) {
  static thread_local FloatBuffer tile_buffer, panel_buffer;
  const auto compute = TEMPER_DISPATCH(ComputePanel);
  const TileShape shape = *TEMPER_DISPATCH(kTile);
  const bool pack_b = WorthPacking(whole), pack_a = WorthTiles(whole);
  const int64_t k = whole.k();
  const int64_t most =
      std::max<int64_t>(kPackedFloats / std::max<int64_t>(k, 1) / shape.columns, 1) * shape.columns;
  const int64_t columns = pack_b ? most : whole.n();
  const int64_t rows =
      pack_a ? std::max<int64_t>(kPackedFloats / k / shape.rows, 20) * shape.rows : whole.m();
  for (int64_t column = 0; column < whole.n(); column += columns) {
    Product part = whole;
    PackedMatrix panels;
    if (pack_b) {
      const int64_t n = std::min(columns, whole.n() - column);
      part.b = whole.b_transposed ? whole.b.Rows(column, n) : whole.b.Columns(column, n);
      part.c = whole.c.Columns(column, n);
      part.add = whole.add.Columns(column, n);
      if (part.bias != nullptr) part.bias += column;
      panels = backend.Pack(part.b, part.b_transposed, panel_buffer.Reserve(backend.PackedFloats(n, k)));
      part.packed = &panels;
    }
    for (int64_t first = 0; first < whole.m(); first += rows) {
      const int64_t m = std::min(rows, whole.m() - first);
      Product p = part;
      p.a = part.a.Rows(first, m);
      p.c = part.c.Rows(first, m);
      p.add = part.add.Rows(first, m);
      float* tiles = nullptr;
      if (pack_a) {
        tiles = tile_buffer.Reserve(Ceil(m, shape.rows) * shape.rows * k + 16);
        // All of a at once is still there from the columns before.
        if (column == 0 || m < whole.m()) PackTiles(p.a, tiles, backend.pool());
      }
      const CutProduct cut{p, CutOf(p, backend.pool().threads()), tiles};
      backend.pool().ParallelFor(cut.cut.panels * cut.cut.blocks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t piece = begin; piece < end; ++piece) RunTask(compute, TaskOf(cut, piece));
      });
    }
  }
}

void CheckProduct(const Product& p) {
  TEMPER_CHECK(p.k_chunks == 1 || p.k_chunks == kChunks);
  TEMPER_CHECK(p.a.rows == p.m() && (!p.add || (p.add.rows == p.m() && p.add.cols == p.n())), "c is ", p.m(),
               " x ", p.n(), ", a ", p.a.rows, " x ", p.k());
  if (p.packed == nullptr) {
    TEMPER_CHECK(
        p.b_transposed ? p.b.rows == p.n() && p.b.cols == p.k() : p.b.rows == p.k() && p.b.cols == p.n(),
        "b is ", p.b.rows, " x ", p.b.cols, ", n ", p.n(), ", k ", p.k());
  } else {
    TEMPER_CHECK(p.packed->n == p.n() && p.packed->k == p.k() &&
                 p.packed->columns == TEMPER_DISPATCH(kTile)->columns);
  }
}

}  // namespace

int64_t CpuBackend::PackedFloats(int64_t n, int64_t k) const {
  const int columns = TEMPER_DISPATCH(kTile)->columns;
  return Ceil(n, columns) * columns * k;
}

PackedMatrix CpuBackend::Pack(const Matrix& b, bool transposed, float* panels) {
  const auto pack = TEMPER_DISPATCH(PackPanel);
  const int columns = TEMPER_DISPATCH(kTile)->columns;
  const int64_t n = transposed ? b.rows : b.cols, k = transposed ? b.cols : b.rows;
  pool().ParallelFor(Ceil(n, columns), kColumnsTogether / columns, [&](int64_t begin, int64_t end) {
    const int64_t column = begin * columns;
    pack({transposed ? b.Row(column) : b.f32() + column, b.stride,
          static_cast<int>(std::min(end * columns, n) - column), k},
         transposed, panels + column * k);
  });
  return {.panels = panels, .columns = columns, .n = n, .k = k};
}

void CpuBackend::Products(absl::Span<const Product> products) {
  static thread_local Pieces pieces;
  pieces.Clear();
  for (const Product& p : products) {
    CheckProduct(p);
    if (p.m() == 0 || p.n() == 0) {
      pieces.Add(0, 0);
    } else if (WorthTiles(p) || WorthPacking(p)) {
      PackedProduct(p, *this);
      pieces.Add(0, 0);
    } else {
      const Cut cut = CutOf(p, pool().threads());
      pieces.Add(cut.panels * cut.blocks, static_cast<double>(p.m() + 8) * p.n() * p.k());
    }
  }
  const auto compute = TEMPER_DISPATCH(ComputePanel);
  pieces.Run(pool(), [&](size_t index, int64_t local) {
    const Product& p = products[index];
    RunTask(compute, TaskOf({p, CutOf(p, pool().threads()), nullptr}, local));
  });
}

}  // namespace temper::kernels
