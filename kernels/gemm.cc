// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm.h"

#include <algorithm>

#include "core/check.h"
#include "core/huge_pages.h"
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
  if (p.packed == nullptr && p.m <= DirectRows(p.b_transposed, p.ldb)) {
    // Rows of b [k, n] lie in pages of their own: of each as much as there is for a thread.
    const int64_t share = Ceil(Ceil(p.n, p.b_transposed ? 2 * threads : threads), 128) * 128;
    cut.width = std::min<int64_t>(share, kWide);
  } else if (p.packed != nullptr) {
    cut.width *= PanelsAtOnce(p.m);
  } else if (!p.b_transposed && p.ldb >= kManyPages && p.m > kRowBlock / 2) {
    cut.width = kColumnsTogether;
  }
  cut.panels = Ceil(p.n, cut.width);
  // Packed, a block of rows of a is to stay in the second cache.
  cut.blocks = Ceil(p.m, p.packed == nullptr
                             ? kRowBlock
                             : std::clamp<int64_t>(kBlockFloats / std::max<int64_t>(p.k, 1), 96, kRowBlock));
  // A panel packed on the fly is packed once for each block.
  if (p.packed == nullptr)
    cut.blocks = std::min(cut.blocks, Ceil(4 * threads, std::max<int64_t>(cut.panels, 1)));
  cut.rows = Ceil(Ceil(p.m, std::max<int64_t>(cut.blocks, 1)), tile.rows) * tile.rows;
  cut.blocks = Ceil(p.m, std::max<int64_t>(cut.rows, 1));
  return cut;
}

// Piece `local` of a product; `tiles` is a packed by PackTile, or null.
PanelTask TaskOf(const Product& p, const Cut& cut, int64_t local, const float* tiles) {
  // Packed, a block of rows stays in the second cache and the panels pass by; else a panel does, for all
  // rows.
  const int64_t panel = p.packed != nullptr ? local % cut.panels : local / cut.blocks;
  const int64_t row = (p.packed != nullptr ? local / cut.panels : local % cut.blocks) * cut.rows;
  const int64_t column = panel * cut.width;
  PanelTask task = {};
  task.a = tiles != nullptr ? tiles + row * p.k : p.a + row * p.lda;
  task.lda = tiles != nullptr ? 0 : p.lda;
  if (p.packed != nullptr) {
    task.panel = p.packed->panels + column * p.k;
    // A small weight too where one block of rows is all: since its last use the model has read all others.
    const bool away = cut.blocks == 1 || p.n * p.k >= kStaysFloats;
    if (panel + 1 < cut.panels && away) task.next = task.panel + p.k * cut.width;
  } else {
    task.b = p.b_transposed ? p.b + column * p.ldb : p.b + column;
  }
  task.ldb = p.ldb;
  task.b_transposed = p.b_transposed;
  task.c = p.c + row * p.ldc + column;
  task.ldc = p.ldc;
  task.rows = std::min(cut.rows, p.m - row);
  task.cols = static_cast<int>(std::min(cut.width, p.n - column));
  task.k = p.k;
  task.k_chunks = p.k_chunks;
  task.bias = p.bias == nullptr ? nullptr : p.bias + column;
  task.add = p.add == nullptr ? nullptr : p.add + row * p.ldadd + column;
  task.ldadd = p.ldadd;
  return task;
}

void RunTask(void (*compute)(const PanelTask&, float*), const PanelTask& task) {
  compute(task, task.panel != nullptr ? nullptr : Scratch(PanelScratch(task.k)));
}

bool WorthTiles(const Product& p) { return p.m >= 96 && p.n >= 256 && p.k >= 64 && p.lda >= kFarRows; }
// From so many rows on, b is packed once for all of them: soonest where that goes over many pages, last
// where it is soon done again.
bool WorthPacking(const Product& p) {
  const bool large = p.n * p.k >= kStaysFloats, pages = !p.b_transposed && p.ldb >= kManyPages;
  const int64_t rows = pages ? kRowBlock : large ? 3 * kRowBlock / 2 : 2 * kRowBlock;
  return p.packed == nullptr && p.m > rows && p.n >= 64;
}

// A large product: packs columns of b and rows of a first, all threads together, then goes on with them.
void PackedProduct(const Product& whole, ThreadPool& pool) {
  static thread_local FloatBuffer tile_buffer, panel_buffer;
  const auto pack = TEMPER_DISPATCH(PackTile);
  const auto compute = TEMPER_DISPATCH(ComputePanel);
  const TileShape shape = *TEMPER_DISPATCH(kTile);
  const bool pack_b = WorthPacking(whole), pack_a = WorthTiles(whole);
  const int64_t most =
      std::max<int64_t>(kPackedFloats / std::max<int64_t>(whole.k, 1) / shape.columns, 1) * shape.columns;
  const int64_t columns = pack_b ? most : whole.n;
  const int64_t rows =
      pack_a ? std::max<int64_t>(kPackedFloats / whole.k / shape.rows, 20) * shape.rows : whole.m;
  for (int64_t column = 0; column < whole.n; column += columns) {
    Product part = whole;
    PackedMatrix panels;
    if (pack_b) {
      part.n = std::min(columns, whole.n - column);
      part.c += column;
      if (part.bias != nullptr) part.bias += column;
      if (part.add != nullptr) part.add += column;
      panels =
          Pack(whole.b + (whole.b_transposed ? column * whole.ldb : column), whole.ldb, whole.b_transposed,
               part.n, whole.k, panel_buffer.Reserve(PackedFloats(part.n, whole.k)), pool);
      part.packed = &panels;
    }
    for (int64_t first = 0; first < whole.m; first += rows) {
      Product p = part;
      p.a += first * p.lda;
      p.c += first * p.ldc;
      if (p.add != nullptr) p.add += first * p.ldadd;
      p.m = std::min(rows, whole.m - first);
      float* tiles = nullptr;
      if (pack_a) {
        const int64_t count = Ceil(p.m, shape.rows);
        tiles = tile_buffer.Reserve(count * shape.rows * p.k + 16);
        // All of a at once is still there from the columns before.
        const bool packed = column > 0 && p.m == whole.m;
        pool.ParallelFor(packed ? 0 : count, 2, [&](int64_t begin, int64_t end) {
          for (int64_t tile = begin; tile < end; ++tile) {
            const int64_t row = tile * shape.rows;
            pack(p.a + row * p.lda, p.lda, static_cast<int>(std::min<int64_t>(shape.rows, p.m - row)), p.k,
                 tiles + row * p.k);
          }
        });
      }
      const Cut cut = CutOf(p, pool.threads());
      pool.ParallelFor(cut.panels * cut.blocks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t piece = begin; piece < end; ++piece) RunTask(compute, TaskOf(p, cut, piece, tiles));
      });
    }
  }
}

}  // namespace

int64_t PackedFloats(int64_t n, int64_t k) {
  const int columns = TEMPER_DISPATCH(kTile)->columns;
  return Ceil(n, columns) * columns * k;
}

PackedMatrix Pack(const float* b, int64_t ldb, bool transposed, int64_t n, int64_t k, float* panels,
                  ThreadPool& pool) {
  const auto pack = TEMPER_DISPATCH(PackPanel);
  const int columns = TEMPER_DISPATCH(kTile)->columns;
  pool.ParallelFor(Ceil(n, columns), kColumnsTogether / columns, [&](int64_t begin, int64_t end) {
    const int64_t column = begin * columns;
    pack(transposed ? b + column * ldb : b + column, ldb, transposed,
         static_cast<int>(std::min(end * columns, n) - column), k, panels + column * k);
  });
  return {.panels = panels, .columns = columns, .n = n, .k = k};
}

void Products(absl::Span<const Product> products, ThreadPool& pool) {
  static thread_local Pieces pieces;
  pieces.Clear();
  for (const Product& p : products) {
    TEMPER_CHECK(p.k_chunks == 1 || p.k_chunks == kChunks);
    TEMPER_CHECK(p.packed == nullptr || (p.packed->n == p.n && p.packed->k == p.k &&
                                         p.packed->columns == TEMPER_DISPATCH(kTile)->columns));
    if (p.m == 0 || p.n == 0) {
      pieces.Add(0, 0);
    } else if (WorthTiles(p) || WorthPacking(p)) {
      PackedProduct(p, pool);
      pieces.Add(0, 0);
    } else {
      const Cut cut = CutOf(p, pool.threads());
      pieces.Add(cut.panels * cut.blocks, static_cast<double>(p.m + 8) * p.n * p.k);
    }
  }
  const auto compute = TEMPER_DISPATCH(ComputePanel);
  pieces.Run(pool, [&](size_t index, int64_t local) {
    const Product& p = products[index];
    RunTask(compute, TaskOf(p, CutOf(p, pool.threads()), local, nullptr));
  });
}

}  // namespace temper::kernels
