// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/products.h"

#include <algorithm>

#include "core/check.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/product_pieces.h"
#include "kernels/cuda/tiles.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {
namespace {

// Tiles of 16 kEach x 128.
template <Lies kA, Lies kB, typename E, int kWide, int kEach>
struct TileKernel {
  // Widening takes a few more registers than two blocks leave.
  static constexpr int kThreads = kTileThreads, kBlocks = std::is_same_v<E, Bf16> && kEach == 8 ? 1 : 2;
  static constexpr int kRows = 16 * kEach, kColumns = 128, kEachColumn = 8;
  static constexpr int kSizeA = kA == Lies::kAlong ? kRows * kApart : kRows * kSteps;
  static constexpr int kSizeB = kB == Lies::kAlong ? kColumns * kApart : kColumns * kSteps;
  static constexpr int kDeepest = kA == kB ? 4 : 2;  // steps that a thread reads at a time
  using Args = ProductArgs<E>;

  template <int kDeep>
  WORD static void Multiply(const Shared<float>& a, const Shared<float>& b, int step,
                            Float (&acc)[kEach * kEachColumn]) {
    Float x[kDeep][kEach], y[kDeep][kEachColumn];
    Take<kA, kRows, kEach, kDeep>(a, TileRow(), step, x);
    Take<kB, kColumns, kEachColumn, kDeep>(b, TileColumn(), step, y);
    UNROLL_ALL
    for (int d = 0; d < kDeep; ++d) {
      UNROLL_ALL
      for (int i = 0; i < kEach; ++i) {
        UNROLL_ALL
        for (int j = 0; j < kEachColumn; ++j)
          acc[i * kEachColumn + j] = Fma(x[d][i], y[d][j], acc[i * kEachColumn + j]);
      }
    }
  }

  // Calls body(row, column, its place in a thread's sums) for what is in c.
  template <typename Body>
  WORD static void ForOutputs(const ProductPiece<E>& piece, int row, int column, const Body& body) {
    UNROLL_ALL
    for (int i = 0; i < kEach; ++i) {
      const int r = row + PlaceIn<kA>(TileRow(), i);
      if (r >= piece.m) continue;
      UNROLL_ALL
      for (int j = 0; j < kEachColumn; ++j) {
        const int c = column + PlaceIn<kB>(TileColumn(), j);
        if (c < piece.n) body(r, c, i * kEachColumn + j);
      }
    }
  }

  WORD static void Run(const Args& args) {
    SHARED(float, a, 2 * kSizeA);
    SHARED(float, b, 2 * kSizeB);
    const ProductPiece<E>& piece = args.PieceOf(Block());
    const int tile = static_cast<int>(Block() - piece.first_block);
    const int row = tile / piece.columns * kRows, column = tile % piece.columns * kColumns;
    const auto fetch = [&](int stage, const StepWalk<E, kSteps>& walk) {
      const Factors<E>& from = piece.factors[walk.factor];
      Fetch<kA, kRows, kWide, kSteps>(a.From(stage * kSizeA), from.a, {row, piece.m, walk.at, walk.count});
      Fetch<kB, kColumns, kWide, kSteps>(b.From(stage * kSizeB), from.b,
                                         {column, piece.n, walk.at, walk.count});
    };
    ChunkSums<kEach * kEachColumn> sums;
    Float acc[kEach * kEachColumn];
    StepWalk<E, kSteps> ahead(piece);
    if (ahead.Next()) fetch(0, ahead);
    CopyCommit();
    int stage = 0;
    UNROLL(1)
    for (int chunk = 0; chunk < piece.chunks; ++chunk) {
      UNROLL_ALL
      for (Float& sum : acc) sum = Set(0.0f);
      if (piece.goes_on)
        ForOutputs(piece, row, column, [&](int r, int c, int i) { acc[i] = piece.c.Row(r).At(c); });
      UNROLL(1)
      for (int factor = 0; factor < piece.factor_count; ++factor) {
        const int end = piece.Edge(factor, chunk + 1);
        UNROLL(1)
        for (int at = piece.Edge(factor, chunk); at < end; at += kSteps, stage ^= 1) {
          if (ahead.Next()) fetch(stage ^ 1, ahead);
          CopyCommit();
          CopyWait<1>();
          Sync();
          const Shared<float> from_a = a.From(stage * kSizeA), from_b = b.From(stage * kSizeB);
          if (end - at >= kSteps) {
            UNROLL_ALL
            for (int step = 0; step < kSteps; step += kDeepest) Multiply<kDeepest>(from_a, from_b, step, acc);
          } else {
            // A step beyond the end would not leave every sum as it is: -0 + 0 is 0.
            UNROLL(1)
            for (int step = 0; step < end - at; ++step) Multiply<1>(from_a, from_b, step, acc);
          }
          Sync();
        }
      }
      if (piece.chunks > 1) sums.Push(chunk, piece.chunks, acc);
    }
    CopyWait<0>();
    ForOutputs(piece, row, column, [&](int r, int c, int i) {
      Float sum = acc[i];
      if (piece.bias) sum = Add(sum, piece.bias.At(c));
      if (piece.add) sum = Add(sum, piece.add.Row(r).At(c));
      piece.c.Row(r).Put(c, sum);
    });
  }
};

// 4 steps' weights in shared memory: numbers, or words of two of bf16.
WORD Floats<4> FourOf(const Shared<float>& row, int step) { return Read<4>(row, step); }
WORD Floats<4> FourOf(const Shared<uint32_t>& row, int step) {
  Floats<4> out;
  UNROLL_ALL
  for (int i = 0; i < 2; ++i) {
    const uint32_t word = row.At(step / 2 + i);
    out[2 * i] = FromBits(word << 16);
    out[2 * i + 1] = FromBits(word & 0xffff0000u);
  }
  return out;
}
WORD Float OneOf(const Shared<float>& row, int step) { return row.At(step); }
WORD Float OneOf(const Shared<uint32_t>& row, int step) {
  const uint32_t word = row.At(step / 2);
  return FromBits(step % 2 == 0 ? word << 16 : word & 0xffff0000u);
}

// 16 outputs of 8 rows: a thread has one. W is the word that weights lie in: a float, or two of bf16.
template <typename W, int kWide>
struct FewRowsKernel {
  static constexpr int kThreads = 128, kBlocks = 4;
  static constexpr int kRows = 8, kColumns = 16, kFewSteps = 128, kStages = 3;
  static constexpr int kOfWord = std::is_same_v<W, float> ? 1 : 2;
  static constexpr int kApartA = kFewSteps + 4, kApartB = kFewSteps / kOfWord + 4;
  using Args = ProductArgs<W>;
  using Walk = StepWalk<W, kFewSteps>;

  WORD static void Run(const Args& args) {
    const ProductPiece<W>& piece = args.PieceOf(Block());
    const int tile = static_cast<int>(Block() - piece.first_block);
    // Blocks of the same weights are neighbours, so that these come from memory once.
    const int down = (piece.m + kRows - 1) / kRows;
    Of(piece, tile % down * kRows, tile / down * kColumns);
  }

  // The outputs from that row and column on.
  WORD static void Of(const ProductPiece<W>& piece, int row, int column) {
    SHARED(float, a, kStages* kRows* kApartA);
    SHARED(W, b, kStages * kColumns * kApartB);
    const auto fetch = [&](int stage, const Walk& walk) {
      const Factors<W>& from = piece.factors[walk.factor];
      for (int i = Thread(); i < kRows * kFewSteps / kWide; i += kThreads) {
        const int line = i / (kFewSteps / kWide), step = i % (kFewSteps / kWide) * kWide;
        const int left = row + line < piece.m ? walk.count - step : 0;
        CopyAsync<kWide>(a.From((stage * kRows + line) * kApartA + step),
                         from.a.Row(left > 0 ? row + line : 0).From(left > 0 ? walk.at + step : 0), left);
      }
      constexpr int kWords = kFewSteps / kOfWord;
      for (int i = Thread(); i < kColumns * kWords / kWide; i += kThreads) {
        const int line = i / (kWords / kWide), word = i % (kWords / kWide) * kWide;
        const int left = column + line < piece.n ? walk.count / kOfWord - word : 0;
        CopyAsync<kWide>(
            b.From((stage * kColumns + line) * kApartB + word),
            from.b.Row(left > 0 ? column + line : 0).From(left > 0 ? walk.at / kOfWord + word : 0), left);
      }
    };
    const int own_row = Thread() / kColumns, own_column = Thread() % kColumns;
    ChunkSums<1> sums;
    Float acc[1];
    Walk ahead(piece);
    for (int stage = 0; stage + 1 < kStages; ++stage) {
      if (ahead.Next()) fetch(stage, ahead);
      CopyCommit();
    }
    int stage = 0;
    UNROLL(1)
    for (int chunk = 0; chunk < piece.chunks; ++chunk) {
      acc[0] = Set(0.0f);
      UNROLL(1)
      for (int factor = 0; factor < piece.factor_count; ++factor) {
        const int end = piece.Edge(factor, chunk + 1);
        UNROLL(1)
        for (int at = piece.Edge(factor, chunk); at < end; at += kFewSteps) {
          CopyWait<kStages - 2>();
          Sync();  // also: all are done with the stage that is filled now
          if (ahead.Next()) fetch((stage + kStages - 1) % kStages, ahead);
          CopyCommit();
          const int count = end - at < kFewSteps ? end - at : kFewSteps;
          const Shared<float> x = a.From((stage * kRows + own_row) * kApartA);
          const Shared<W> y = b.From((stage * kColumns + own_column) * kApartB);
          int step = 0;
          UNROLL(8)
          for (; step + 4 <= count; step += 4) {
            const Floats<4> xs = Read<4>(x, step), ys = FourOf(y, step);
            UNROLL_ALL
            for (int d = 0; d < 4; ++d) acc[0] = Fma(xs[d], ys[d], acc[0]);
          }
          for (; step < count; ++step) acc[0] = Fma(x.At(step), OneOf(y, step), acc[0]);
          stage = (stage + 1) % kStages;
        }
      }
      if (piece.chunks > 1) sums.Push(chunk, piece.chunks, acc);
    }
    CopyWait<0>();
    const int r = row + own_row, c = column + own_column;
    if (r >= piece.m || c >= piece.n) return;
    Float sum = acc[0];
    if (piece.bias) sum = Add(sum, piece.bias.At(c));
    if (piece.add) sum = Add(sum, piece.add.Row(r).At(c));
    piece.c.Row(r).Put(c, sum);
  }
};

// 16 outputs of 8 entries of one expert.
template <typename W, int kWide>
struct ExpertRowsKernel {
  using Few = FewRowsKernel<W, kWide>;
  static constexpr int kThreads = Few::kThreads, kBlocks = Few::kBlocks;
  struct Args {
    int experts;
    int64_t stride;  // of a weight, in words
    Global<const int64_t> offsets;
    Global<const void* const> weights;
    ProductPiece<W> all;  // as if all entries were one expert's
  };

  WORD static void Run(const Args& args) {
    int tile = static_cast<int>(Block() / args.all.columns);
    const int column = static_cast<int>(Block() % args.all.columns) * Few::kColumns;
    for (int begin = 0; begin < args.experts; begin += 32) {
      const int e = begin + Lane(), at = e < args.experts ? e : args.experts - 1;
      const int first = static_cast<int>(args.offsets.At(at));
      const int count = e < args.experts ? static_cast<int>(args.offsets.At(at + 1)) - first : 0;
      // Of this lane's expert and those of lanes before it.
      const int tiles = static_cast<int>(CeilOf(count, Few::kRows));
      int through = tiles;
      for (int apart = 1; apart < 32; apart *= 2) {
        const int before = ShuffleFrom(through, Lane() >= apart ? Lane() - apart : 0);
        if (Lane() >= apart) through += before;
      }
      const uint32_t found = Ballot(through - tiles <= tile && tile < through);
      if (found == 0) {
        tile -= ShuffleFrom(through, 31);
        continue;
      }
      const int lane = LowestBit(found);
      ProductPiece<W> piece = args.all;
      Factors<W>& factors = piece.factors[0];
      piece.m = ShuffleFrom(count, lane);
      factors.a = factors.a.From(ShuffleFrom(first, lane), 0);
      piece.c = piece.c.From(ShuffleFrom(first, lane), 0);
      factors.b = {static_cast<const W*>(args.weights.At(begin + lane)), piece.n, factors.b.cols,
                   args.stride};
      Few::Of(piece, (tile - ShuffleFrom(through - tiles, lane)) * Few::kRows, column);
      return;
    }
  }
};

struct BiasKernel {
  static constexpr int kThreads = 128, kBlocks = 4;
  static constexpr int kTogether = 16;
  struct Args {
    int64_t rows;
    Rows<const float> dy;
    Global<float> dbias;
  };
  WORD static void Run(const Args& args) {
    const int column = Block() * kThreads + Thread();
    if (column >= args.dy.cols) return;
    Float sum = args.dbias.At(column);
    for (int64_t row = 0; row < args.rows; row += kTogether) {
      Float dy[kTogether];
      UNROLL_ALL
      for (int i = 0; i < kTogether; ++i) {
        if (row + i < args.rows) dy[i] = args.dy.Row(row + i).At(column);
      }
      UNROLL_ALL
      for (int i = 0; i < kTogether; ++i) {
        if (row + i < args.rows) sum = Add(sum, dy[i]);
      }
    }
    args.dbias.Put(column, sum);
  }
};

// What a launch has in common.
struct Form {
  bool few = false;  // rows of transposed weights
  bool transposed = true, bf16 = false, wide = true, small = false;
  friend bool operator==(const Form&, const Form&) = default;
};

// Whether a matrix, and every step at which a chunk of it begins, lies at a multiple of 16 bytes.
bool WideSteps(const Matrix& m, const AxisPart& part, bool chunked) {
  const int64_t each = 16 / BytesOf(m.type), k = part.whole == 0 ? m.cols : part.whole;
  bool wide = Wide(m.data) && m.stride % each == 0 && m.cols % each == 0;
  for (int c = 0; chunked && c <= kChunks; ++c) wide = wide && (c * k / kChunks - part.begin) % each == 0;
  return wide;
}

template <typename Body>
void ForFactors(const Product& p, const Body& body) {
  body(FactorPair{p.a, p.b, p.part});
  for (const FactorPair& more : p.more) {
    if (more.a) body(more);
  }
}

constexpr int64_t kFewRows = 16, kSmallRows = 64;

Form FormOf(const Product& p) {
  Form form{.transposed = p.b_transposed, .bf16 = p.b.type == Type::kBf16, .small = p.m() <= kSmallRows};
  bool wide_weights = true;
  ForFactors(p, [&](const FactorPair& pair) {
    const bool chunked = p.k_chunks > 1;
    form.wide = form.wide && WideSteps(pair.a, pair.part, chunked);
    wide_weights = wide_weights && (p.b_transposed ? WideSteps(pair.b, pair.part, chunked) : Wide(pair.b));
  });
  // Words of two weights need all of 16 bytes; what is widened on its way comes as it may.
  form.few = p.m() <= kFewRows && p.b_transposed && (!form.bf16 || (wide_weights && form.wide));
  if (!form.bf16 || form.few) form.wide = form.wide && wide_weights;
  if (form.few) form.small = false;
  return form;
}

// The chunks whose subtree a product is.
void SetChunks(const Product& p, int* first, int* count) {
  *first = 0;
  *count = 1;
  if (p.k_chunks == 1) return;
  for (*count = kChunks; *count > 0; *count /= 2) {
    for (*first = 0; *first < kChunks; *first += *count) {
      bool are_them = true;
      ForFactors(p, [&](const FactorPair& pair) {
        const int64_t whole = pair.part.whole == 0 ? pair.a.cols : pair.part.whole;
        are_them = are_them && *first * whole / kChunks == pair.part.begin &&
                   (*first + *count) * whole / kChunks == pair.part.begin + pair.a.cols;
      });
      if (are_them) return;
    }
  }
  TEMPER_CHECK(false, "a product's part is no subtree of its chunks");
}

struct TileSize {
  int64_t rows, columns;
};

// Of words E that hold `of_word` weights each.
template <typename E>
ProductPiece<E> PieceOf(const Product& p, int of_word, TileSize tile) {
  ProductPiece<E> piece = {};
  ForFactors(p, [&](const FactorPair& pair) {
    const Matrix& b = pair.b;
    piece.factors[piece.factor_count++] = {
        .a = ReadRows(pair.a),
        .b = {static_cast<const E*>(b.data), b.rows, b.cols / of_word, b.stride / of_word},
        .k = static_cast<int>(pair.a.cols),
        .begin = pair.part.begin,
        .whole = pair.part.whole == 0 ? pair.a.cols : pair.part.whole};
  });
  piece.chunked = p.k_chunks > 1;
  SetChunks(p, &piece.first_chunk, &piece.chunks);
  piece.m = static_cast<int>(p.m());
  piece.n = static_cast<int>(p.n());
  piece.c = WriteRows(p.c);
  piece.add = ReadRows(p.add);
  piece.bias = {p.bias, p.n()};
  piece.columns = static_cast<int>(CeilOf(p.n(), tile.columns));
  return piece;
}

// Launches one kernel for every kProductsTogether of the pieces that `piece_of` makes.
template <typename Kernel, typename T, typename PieceOfOne>
void LaunchPieces(absl::Span<const T> all, Stream& stream, const PieceOfOne& piece_of) {
  for (size_t begin = 0; begin < all.size(); begin += kProductsTogether) {
    typename Kernel::Args args = {};
    int64_t blocks = 0;
    for (const T& one : all.subspan(begin, kProductsTogether)) {
      auto& piece = args.pieces[args.count++] = piece_of(one);
      piece.first_block = blocks;
      blocks += CeilOf(piece.m, Kernel::kRows) * piece.columns;
    }
    Launch<Kernel>(stream, blocks, args);
  }
}

template <typename Kernel, typename E>
void LaunchProducts(absl::Span<const Product> products, int of_word, Stream& stream) {
  LaunchPieces<Kernel>(products, stream, [&](const Product& p) {
    return PieceOf<E>(p, of_word, {Kernel::kRows, Kernel::kColumns});
  });
}

template <Lies kB, typename E, int kWide>
void LaunchTiles(const Form& form, absl::Span<const Product> products, Stream& stream) {
  form.small ? LaunchProducts<TileKernel<Lies::kAlong, kB, E, kWide, 4>, E>(products, 1, stream)
             : LaunchProducts<TileKernel<Lies::kAlong, kB, E, kWide, 8>, E>(products, 1, stream);
}

template <Lies kB>
void LaunchTiles(const Form& form, absl::Span<const Product> products, Stream& stream) {
  if (form.bf16) {
    form.wide ? LaunchTiles<kB, Bf16, 4>(form, products, stream)
              : LaunchTiles<kB, Bf16, 1>(form, products, stream);
  } else {
    form.wide ? LaunchTiles<kB, float, 4>(form, products, stream)
              : LaunchTiles<kB, float, 1>(form, products, stream);
  }
}

void LaunchForm(const Form& form, absl::Span<const Product> products, Stream& stream) {
  if (form.few && form.bf16) return LaunchProducts<FewRowsKernel<uint32_t, 4>, uint32_t>(products, 2, stream);
  if (form.few) {
    return form.wide ? LaunchProducts<FewRowsKernel<float, 4>, float>(products, 1, stream)
                     : LaunchProducts<FewRowsKernel<float, 1>, float>(products, 1, stream);
  }
  form.transposed ? LaunchTiles<Lies::kAlong>(form, products, stream)
                  : LaunchTiles<Lies::kAcross>(form, products, stream);
}

}  // namespace

void Products(absl::Span<const Product> products, Stream& stream) {
  for (size_t begin = 0, end; begin < products.size(); begin = end) {
    const Form form = FormOf(products[begin]);
    for (end = begin + 1; end < products.size() && FormOf(products[end]) == form;) ++end;
    LaunchForm(form, products.subspan(begin, end - begin), stream);
  }
}

void ExpertProducts(const ExpertProductsTask& task, Stream& stream) {
  const Product all{.a = task.x, .b = task.like, .c = task.y, .k_chunks = task.k_chunks};
  Product few = all;  // of which form it is
  few.a.rows = few.c.rows = 1;
  const Form form = FormOf(few);
  TEMPER_CHECK(form.few, "experts' weights of bf16 whose rows are no multiples of 16 bytes");
  const auto launch = [&]<typename Kernel, typename W>(int of_word) {
    const int64_t entries = task.x.rows, experts = task.experts, rows = Kernel::Few::kRows;
    // Each expert with entries has a tile of its own that is not full.
    const int64_t tiles = std::min(experts, entries) + entries / rows;
    const ProductPiece<W> piece = PieceOf<W>(all, of_word, {rows, Kernel::Few::kColumns});
    Launch<Kernel>(stream, tiles * piece.columns,
                   {.experts = task.experts,
                    .stride = task.like.stride / of_word,
                    .offsets = {task.routing->device_offsets, experts + 1},
                    .weights = {task.weights, experts},
                    .all = piece});
  };
  if (form.bf16) return launch.template operator()<ExpertRowsKernel<uint32_t, 4>, uint32_t>(2);
  form.wide ? launch.template operator()<ExpertRowsKernel<float, 4>, float>(1)
            : launch.template operator()<ExpertRowsKernel<float, 1>, float>(1);
}

void WeightGradients(absl::Span<const WeightGradient> gradients, Stream& stream) {
  bool wide = true;
  for (const WeightGradient& g : gradients) wide = wide && AllWide({g.dy, g.x});
  const auto piece_of = [](const WeightGradient& g) {
    ProductPiece<float> piece = {};
    piece.factors[piece.factor_count++] = {
        .a = ReadRows(g.dy), .b = ReadRows(g.x), .k = static_cast<int>(g.m()), .begin = 0, .whole = g.m()};
    piece.chunks = 1;
    piece.goes_on = true;
    piece.m = static_cast<int>(g.n());
    piece.n = static_cast<int>(g.k());
    piece.c = WriteRows(g.dw);
    piece.columns = static_cast<int>(CeilOf(g.k(), 128));
    return piece;
  };
  wide ? LaunchPieces<TileKernel<Lies::kAcross, Lies::kAcross, float, 4, 8>>(gradients, stream, piece_of)
       : LaunchPieces<TileKernel<Lies::kAcross, Lies::kAcross, float, 1, 8>>(gradients, stream, piece_of);
}

void BiasGradient(const Matrix& dy, float* dbias, Stream& stream) {
  Launch<BiasKernel>(stream, CeilOf(dy.cols, BiasKernel::kThreads),
                     {.rows = dy.rows, .dy = ReadRows(dy), .dbias = {dbias, dy.cols}});
}

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
