// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm.h"

#include <algorithm>
#include <bit>

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
// Columns of a piece of few rows whose b is [n, k].
constexpr int64_t kFewColumns = 64;
// Floats of a, and of b, packed at a time.
constexpr int64_t kPackedFloats = int64_t{4} << 20;

// Calls body(a, b, part) for each pair of a product's factors, in order.
template <typename Body>
void ForFactors(const Product& p, const Body& body) {
  body(p.a, p.b, p.part);
  for (const FactorPair& more : p.more) {
    if (more.a) body(more.a, more.b, more.part);
  }
}

// Where chunk c of kChunks begins.
int64_t Edge(int64_t whole, int c) { return c * whole / kChunks; }

// The chunks whose subtree a product is; no chunks: it is none.
struct Chunks {
  int first = 0, count = 0;
};
Chunks ChunksOf(const Product& p) {
  if (p.k_chunks == 1) return {0, 1};
  for (int count = kChunks; count > 0; count /= 2) {
    for (int first = 0; first < kChunks; first += count) {
      bool are_them = true;
      ForFactors(p, [&](const Matrix& a, const Matrix&, const AxisPart& part) {
        are_them &= part.whole == 0 ? count == kChunks
                                    : Edge(part.whole, first) == part.begin &&
                                          Edge(part.whole, first + count) == part.begin + a.cols;
      });
      if (are_them) return {first, count};
    }
  }
  return {};
}

// How one product is cut.
struct Cut {
  int64_t width, panels, rows, blocks;
};

Cut CutOf(const Product& p, int threads) {
  const TileShape tile = *TEMPER_DISPATCH(kTile);
  Cut cut;
  cut.width = tile.columns;
  if (p.packed == nullptr && p.m() <= DirectRows(p.b_transposed, p.b.stride)) {
    // Rows of b [k, n] lie in pages of their own: of each as much as there is for a thread. Of rows of b [n,
    // k] the next piece's first are fetched while one is computed: so few that threads end together.
    cut.width =
        p.b_transposed ? kFewColumns : std::min<int64_t>(Ceil(Ceil(p.n(), threads), 128) * 128, kWide);
  } else if (p.packed != nullptr) {
    if (p.k() == p.a.cols) cut.width *= PanelsAtOnce(p.m());  // of several factors, one at a time
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

// Where a column of the product lies in b.
const void* ColumnOf(const Matrix& b, bool transposed, int64_t column) {
  return (transposed ? b.Rows(column, 1) : b.Columns(column, 1)).data;
}

// Piece `local` of a product.
PanelTask TaskOf(const CutProduct& whole, int64_t local) {
  const Product& p = whole.p;
  const Cut& cut = whole.cut;
  const Chunks chunks = ChunksOf(p);
  // Packed, a block of rows stays in the second cache and the panels pass by; else a panel does, for all
  // rows.
  const int64_t panel = p.packed != nullptr ? local % cut.panels : local / cut.blocks;
  const int64_t row = (p.packed != nullptr ? local / cut.panels : local % cut.blocks) * cut.rows;
  const int64_t column = panel * cut.width;
  const int64_t tile_rows = TEMPER_DISPATCH(kTile)->rows;
  PanelTask task = {};
  task.rows = std::min(cut.rows, p.m() - row);
  // The few rows behind the last whole block go ways that take them as they are.
  const bool tiles = whole.tiles != nullptr && task.rows > kPackRows;
  ForFactors(p, [&](const Matrix& a, const Matrix& b, const AxisPart& part) {
    PanelFactors& x = task.factors[task.factor_count++];
    x.a = tiles ? whole.tiles + row * p.k() + task.k * tile_rows : a.Row(row);
    x.lda = tiles ? 0 : a.stride;
    if (p.packed == nullptr) x.b = ColumnOf(b, p.b_transposed, column);
    x.ldb = b.stride;
    x.k = a.cols;
    x.first = task.k;
    x.begin = part.begin;
    x.whole = part.whole == 0 ? x.k : part.whole;
    task.k += x.k;
  });
  const bool large = p.n() * p.k() >= kStaysFloats;
  if (p.packed != nullptr) {
    task.panel = p.packed->panels + column * p.k();
    // A small weight too where one block of rows is all: since its last use the model has read all others.
    if (panel + 1 < cut.panels && (cut.blocks == 1 || large)) task.next = task.panel + p.k() * cut.width;
  } else if (p.b_transposed && large && panel + 1 < cut.panels) {
    task.next = ColumnOf(p.b, p.b_transposed, column + cut.width);
  }
  task.b_transposed = p.b_transposed;
  task.b_bf16 = p.b.type == Type::kBf16;
  task.first_chunk = chunks.first;
  task.chunks = chunks.count;
  task.chunk_shift = p.k_chunks == 1 ? 0 : std::countr_zero(unsigned{kChunks});
  task.c = p.c.Row(row) + column;
  task.ldc = p.c.stride;
  task.cols = static_cast<int>(std::min(cut.width, p.n() - column));
  task.bias = p.bias == nullptr ? nullptr : p.bias + column;
  task.add = p.add ? p.add.Row(row) + column : nullptr;
  task.ldadd = p.add.stride;
  return task;
}

void RunTask(void (*compute)(const PanelTask&, float*), const PanelTask& task) {
  compute(task, task.panel != nullptr ? nullptr : Scratch(PanelScratch(task.k)));
}

bool WorthTiles(const Product& p) {
  bool far = false;
  ForFactors(p, [&](const Matrix& a, const Matrix&, const AxisPart&) { far |= a.stride >= kFarRows; });
  return p.m() >= 96 && p.n() >= 256 && p.k() >= 64 && far;
}
// From so many rows on, b is packed once for all of them: soonest where that goes over many pages, last
// where it is soon done again.
bool WorthPacking(const Product& p) {
  const bool large = p.n() * p.k() >= kStaysFloats, pages = !p.b_transposed && p.b.stride >= kManyPages;
  const int64_t rows = pages ? kRowBlock : large ? 3 * kRowBlock / 2 : 2 * kRowBlock;
  return p.packed == nullptr && p.m() > rows && p.n() >= 64;
}

// Rows of a, packed in tiles by all threads: [k][tile rows] of all factors.
void PackTiles(const Product& p, float* tiles, ThreadPool& pool) {
  const auto pack = TEMPER_DISPATCH(PackTile);
  const int64_t rows = TEMPER_DISPATCH(kTile)->rows;
  pool.ParallelFor(Ceil(p.m(), rows), 2, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin * rows; row < std::min(end * rows, p.m()); row += rows) {
      float* to = tiles + row * p.k();
      ForFactors(p, [&](const Matrix& a, const Matrix&, const AxisPart&) {
        pack({a.Row(row), a.stride, static_cast<int>(std::min(rows, p.m() - row)), a.cols}, to);
        to += a.cols * rows;
      });
    }
  });
}

// Panels of k steps; those of b, which may be `transposed`, begin at step `first`.
struct Panels {
  float* data;
  int64_t k, first;
  bool transposed;
};
void PackPanels(const Matrix& b, const Panels& to, ThreadPool& pool) {
  const bool transposed = to.transposed;
  const auto pack = TEMPER_DISPATCH(PackPanel);
  const int columns = TEMPER_DISPATCH(kTile)->columns;
  const int64_t n = transposed ? b.rows : b.cols;
  pool.ParallelFor(Ceil(n, columns), kColumnsTogether / columns, [&](int64_t begin, int64_t end) {
    const int64_t column = begin * columns;
    pack({ColumnOf(b, transposed, column), b.stride, static_cast<int>(std::min(end * columns, n) - column),
          transposed ? b.cols : b.rows, to.k * columns, b.type == Type::kBf16},
         transposed, to.data + column * to.k + to.first * columns);
  });
}

// Rows and columns of c.
struct Block {
  int64_t row, rows, column, columns;
};
Product PartOf(const Product& p, const Block& at) {
  Product part = p;
  const auto cut = [&](Matrix& a, Matrix& b) {
    a = a.Rows(at.row, at.rows);
    b = p.b_transposed ? b.Rows(at.column, at.columns) : b.Columns(at.column, at.columns);
  };
  cut(part.a, part.b);
  for (FactorPair& more : part.more) cut(more.a, more.b);
  part.c = p.c.Rows(at.row, at.rows).Columns(at.column, at.columns);
  part.add = p.add.Rows(at.row, at.rows).Columns(at.column, at.columns);
  if (part.bias != nullptr) part.bias += at.column;
  return part;
}

// The first or the second half of a product's chunks; the second adds the first, which is in c.
Product HalfOf(const Product& p, int half) {
  const Chunks chunks = ChunksOf(p);
  Product part = p;
  const auto cut = [&](Matrix& a, Matrix& b, AxisPart& at) {
    const int64_t whole = at.whole == 0 ? a.cols : at.whole, first = at.begin;
    at = {Edge(whole, chunks.first + half * chunks.count / 2), whole};
    const int64_t count = Edge(whole, chunks.first + (half + 1) * chunks.count / 2) - at.begin;
    a = a.Columns(at.begin - first, count);
    b = p.b_transposed ? b.Columns(at.begin - first, count) : b.Rows(at.begin - first, count);
  };
  cut(part.a, part.b, part.part);
  for (FactorPair& more : part.more) {
    if (more.a) cut(more.a, more.b, more.part);
  }
  if (half == 1) part.add = p.c;
  return part;
}

// A large product: packs columns of b and rows of a first, all threads together, then goes on with them.
void PackedProduct(const Product& whole, CpuBackend& backend) {
  static thread_local FloatBuffer tile_buffer, panel_buffer;
  const auto compute = TEMPER_DISPATCH(ComputePanel);
  const TileShape shape = *TEMPER_DISPATCH(kTile);
  const bool pack_b = WorthPacking(whole), pack_a = WorthTiles(whole);
  const int64_t k = whole.k();
  // A panel that the second cache cannot keep: one half of the tree, then the other.
  if (k * shape.columns > kStaysFloats && ChunksOf(whole).count > 1 && whole.bias == nullptr && !whole.add) {
    PackedProduct(HalfOf(whole, 0), backend);
    return PackedProduct(HalfOf(whole, 1), backend);
  }
  const int64_t most =
      std::max<int64_t>(kPackedFloats / std::max<int64_t>(k, 1) / shape.columns, 1) * shape.columns;
  const int64_t columns = pack_b ? most : whole.n();
  const int64_t rows =
      pack_a ? std::max<int64_t>(kPackedFloats / k / shape.rows, 20) * shape.rows : whole.m();
  for (int64_t column = 0; column < whole.n(); column += columns) {
    const int64_t n = std::min(columns, whole.n() - column);
    PackedMatrix packed;
    if (pack_b) {
      const Product part = PartOf(whole, {0, whole.m(), column, n});
      packed = {panel_buffer.Reserve(backend.PackedFloats(n, k)), shape.columns, n, k};
      Panels panels{const_cast<float*>(packed.panels), k, 0, part.b_transposed};
      ForFactors(part, [&](const Matrix& a, const Matrix& b, const AxisPart&) {
        PackPanels(b, panels, backend.pool());
        panels.first += a.cols;
      });
    }
    for (int64_t first = 0; first < whole.m(); first += rows) {
      const int64_t m = std::min(rows, whole.m() - first);
      Product p = PartOf(whole, {first, m, column, n});
      if (pack_b) p.packed = &packed;
      float* tiles = nullptr;
      if (pack_a) {
        tiles = tile_buffer.Reserve(Ceil(m, shape.rows) * shape.rows * k + 16);
        // All of a at once is still there from the columns before.
        if (column == 0 || m < whole.m()) PackTiles(p, tiles, backend.pool());
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
  TEMPER_CHECK(!p.add || (p.add.rows == p.m() && p.add.cols == p.n()), "c is ", p.m(), " x ", p.n(), ", add ",
               p.add.rows, " x ", p.add.cols);
  TEMPER_CHECK(p.k() == p.a.cols || (p.packed == nullptr && !p.b_transposed),
               "several products into one are of [k, n] as it is");
  const bool known = ChunksOf(p).count > 0;
  ForFactors(p, [&](const Matrix& a, const Matrix& b, const AxisPart& part) {
    TEMPER_CHECK(a.rows == p.m(), "c is ", p.m(), " x ", p.n(), ", a ", a.rows, " x ", a.cols);
    TEMPER_CHECK(p.packed != nullptr || b.type == p.b.type, "the factors' b are of two types");
    TEMPER_CHECK(b.type == Type::kF32 || b.type == Type::kBf16, "b is neither f32 nor bf16");
    TEMPER_CHECK(p.packed != nullptr || (p.b_transposed ? b.rows == p.n() && b.cols == a.cols
                                                        : b.rows == a.cols && b.cols == p.n()),
                 "b is ", b.rows, " x ", b.cols, ", n ", p.n(), ", k ", a.cols);
    TEMPER_CHECK(known && (p.k_chunks == kChunks || part.whole == 0), "steps ", part.begin, " to ",
                 part.begin + a.cols, " of ", part.whole, " are no subtree of its ", p.k_chunks, " chunks");
  });
  TEMPER_CHECK(p.packed == nullptr || (p.packed->n == p.n() && p.packed->k == p.k() &&
                                       p.packed->columns == TEMPER_DISPATCH(kTile)->columns),
               "panels of another shape");
}

}  // namespace

int64_t CpuBackend::PackedFloats(int64_t n, int64_t k) const {
  const int columns = TEMPER_DISPATCH(kTile)->columns;
  return Ceil(n, columns) * columns * k;
}

PackedMatrix CpuBackend::Pack(const Matrix& b, bool transposed, float* panels) {
  const int64_t n = transposed ? b.rows : b.cols, k = transposed ? b.cols : b.rows;
  PackPanels(b, {panels, k, 0, transposed}, pool());
  return {.panels = panels, .columns = TEMPER_DISPATCH(kTile)->columns, .n = n, .k = k};
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
