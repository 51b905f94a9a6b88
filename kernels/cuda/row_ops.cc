// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/row_ops.h"

#include <limits>

#include "core/check.h"
#include "kernels/cuda/arithmetic.h"
#include "kernels/cuda/elements.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {
namespace {

struct SwiGluOp {
  struct Args {
    int64_t rows;
    int cols;
    Rows<const float> gate, up;
    Rows<float> out;
  };
  template <int N>
  WORD static void Of(const Args& a, int64_t row, int column) {
    const Floats<N> gate = Read<N>(a.gate.Row(row), column), up = Read<N>(a.up.Row(row), column);
    Write(a.out.Row(row), column,
          Each<N>([](Float g, Float u) { return Mul(Mul(g, Sigmoid(g)), u); }, gate, up));
  }
};

struct SwiGluBackwardOp {
  struct Args {
    int64_t rows;
    int cols;
    Rows<const float> dout, gate, up;
    Rows<float> dgate, dup;
  };
  template <int N>
  WORD static void Of(const Args& a, int64_t row, int column) {
    const Floats<N> dout = Read<N>(a.dout.Row(row), column), gate = Read<N>(a.gate.Row(row), column);
    const Floats<N> up = Read<N>(a.up.Row(row), column);
    const Floats<N> s = Each<N>([](Float g) { return Sigmoid(g); }, gate);
    Write(a.dgate.Row(row), column,
          Each<N>(
              [](Float d, Float g, Float u, Float s) {
                const Float one = Set(1.0f);
                return Mul(Mul(d, u), Mul(s, Fma(g, Sub(one, s), one)));
              },
              dout, gate, up, s));
    Write(a.dup.Row(row), column,
          Each<N>([](Float d, Float g, Float s) { return Mul(d, Mul(g, s)); }, dout, gate, s));
  }
};

struct AddOp {
  struct Args {
    int64_t rows;
    int cols;
    Rows<const float> from;
    Rows<float> to;
  };
  template <int N>
  WORD static void Of(const Args& a, int64_t row, int column) {
    const Floats<N> from = Read<N>(a.from.Row(row), column), to = Read<N>(a.to.Row(row), column);
    Write(a.to.Row(row), column, Each<N>([](Float t, Float f) { return Add(t, f); }, to, from));
  }
};

struct RoundOp {
  struct Args {
    int64_t rows;
    int cols;
    Rows<const float> from;
    Rows<float> to;
  };
  template <int N>
  WORD static void Of(const Args& a, int64_t row, int column) {
    const Floats<N> from = Read<N>(a.from.Row(row), column);
    Write(a.to.Row(row), column, Each<N>([](Float x) { return FromBits(NearestHalf(x) << 16); }, from));
  }
};

// Two neighbours make a word of 32 bits.
struct HalvesOp {
  struct Args {
    int64_t rows;
    int cols;
    Rows<const float> from;
    Rows<uint16_t> to;
  };
  template <int N>
  WORD static void Of(const Args& a, int64_t row, int column) {
    const Floats<N> from = Read<N>(a.from.Row(row), column);
    for (int j = 0; j < N; ++j) a.to.Row(row).Put(column + j, static_cast<uint16_t>(NearestHalf(from[j])));
  }
};

struct ZeroOp {
  struct Args {
    int64_t rows;
    int cols;
    Rows<float> to;
  };
  template <int N>
  WORD static void Of(const Args& a, int64_t row, int column) {
    Floats<N> zeros;
    UNROLL_ALL
    for (int j = 0; j < N; ++j) zeros[j] = Set(0.0f);
    Write(a.to.Row(row), column, zeros);
  }
};

// The columns of a row are those of its heads, one behind the other.
struct CopyOp {
  struct Args {
    int64_t rows;
    int cols, dim;
    Rows<const float> from;
    Rows<float> to;
    int64_t from_apart, to_apart;
  };
  template <int N>
  WORD static void Of(const Args& a, int64_t row, int column) {
    const int head = column / a.dim, place = column % a.dim;
    Write(a.to.Row(row), head * a.to_apart + place, Read<N>(a.from.Row(row), head * a.from_apart + place));
  }
};

// All heads of a row in one, the numbers between them too.
Matrix WholeRows(const Heads& heads) {
  return heads.rows.Columns(0, heads.count == 0 ? 0 : (heads.count - 1) * heads.apart + heads.dim);
}
bool WideHeads(const Heads& heads) {
  const Matrix& rows = heads.rows;
  return Wide(rows.data) && rows.stride % 4 == 0 && heads.dim % 4 == 0 && heads.apart % 4 == 0;
}

// Numbers that lie one behind the other go in lines of this many, whatever their rows: as many as there are.
constexpr int64_t kLine = 16384;

Matrix Lines(const Matrix& m, int64_t first, int64_t count, int64_t each) {
  const Matrix all{m.data, m.type, 1, m.rows * m.cols, m.rows * m.cols};
  return {all.Columns(first, each).data, m.type, count, each, each};
}
// Calls launch(from, to) of rows that have no more columns than an int tells.
template <typename LaunchRows>
void InLines(const Matrix& from, const Matrix& to, const LaunchRows& launch) {
  if (from.stride != from.cols || to.stride != to.cols) {
    TEMPER_CHECK(from.cols <= std::numeric_limits<int>::max(), from.cols, " columns of rows that lie apart");
    return launch(from, to);
  }
  const int64_t all = from.rows * from.cols, lines = all / kLine, rest = all % kLine;
  launch(Lines(from, 0, lines, kLine), Lines(to, 0, lines, kLine));
  if (rest > 0) launch(Lines(from, lines * kLine, 1, rest), Lines(to, lines * kLine, 1, rest));
}

// Pieces of a row that go to shared memory, one while the other is used.
constexpr int kPiece = 2048;

template <int N>
WORD void FetchPiece(const Shared<float>& to, const Global<const float>& row, int count) {
  for (int i = Thread() * N; i < count; i += 128 * N) CopyAsync<N>(to.From(i), row.From(i), count - i);
}

template <int N>
struct NormKernel {
  static constexpr int kThreads = 128, kBlocks = 8;
  struct Args {
    Rows<const float> x;
    Global<const float> weight;
    Float eps;
    Rows<float> y;
    Global<float> rstd;
  };
  WORD static void Run(const Args& args) {
    SHARED(float, pieces, 2 * kPiece);
    SHARED(float, scale, 1);
    const int cols = args.x.cols;
    const Global<const float> x = args.x.Row(Block());
    const auto count_of = [&](int begin) { return cols - begin < kPiece ? cols - begin : kPiece; };
    Float sum = Set(0.0f);
    FetchPiece<N>(pieces, x, count_of(0));
    CopyCommit();
    for (int begin = 0, stage = 0; begin < cols; begin += kPiece, stage ^= 1) {
      const int next = begin + kPiece;
      if (next < cols) FetchPiece<N>(pieces.From((stage ^ 1) * kPiece), x.From(next), count_of(next));
      CopyCommit();
      CopyWait<1>();
      Sync();
      if (Thread() < kLanes) {
        const int count = count_of(begin);
        UNROLL(8)
        for (int i = Thread(); i < count; i += kLanes) {
          const Float v = pieces.At(stage * kPiece + i);
          sum = Fma(v, v, sum);
        }
      }
      Sync();
    }
    CopyWait<0>();
    if (Warp() == 0) {
      const Float mean = Div(SumLanes(sum), OfInteger(cols));
      const Float rstd = Div(Set(1.0f), Sqrt(Add(mean, args.eps)));
      if (Thread() == 0) {
        scale.Put(0, rstd);
        if (args.rstd) args.rstd.Put(Block(), rstd);
      }
    }
    Sync();
    // Again from the cache.
    const Float rstd = scale.At(0);
    const Global<float> y = args.y.Row(Block());
    for (int i = Thread() * N; i < cols; i += kThreads * N) {
      Write(y, i,
            Each<N>([&](Float v, Float w) { return Mul(Mul(v, rstd), w); }, Read<N>(x, i),
                    Read<N>(args.weight, i)));
    }
  }
};

template <int N>
struct NormBackwardKernel {
  static constexpr int kThreads = 128, kBlocks = 8;
  static constexpr int kPart = 512;
  struct Args {
    Rows<const float> dy, x;
    Global<const float> weight, rstd;
    Rows<const float> add;
    Rows<float> dx;
  };
  WORD static void Run(const Args& args) {
    SHARED(float, parts, 2 * 3 * kPart);
    SHARED(float, scale, 1);
    const int cols = args.x.cols;
    const Global<const float> dy = args.dy.Row(Block()), x = args.x.Row(Block());
    const Float rstd = args.rstd.At(Block());
    const auto fetch = [&](int stage, int begin) {
      const int count = cols - begin < kPart ? cols - begin : kPart;
      const Shared<float> to = parts.From(stage * 3 * kPart);
      FetchPiece<N>(to, dy.From(begin), count);
      FetchPiece<N>(to.From(kPart), x.From(begin), count);
      FetchPiece<N>(to.From(2 * kPart), args.weight.From(begin), count);
    };
    Float sum = Set(0.0f);
    fetch(0, 0);
    CopyCommit();
    for (int begin = 0, stage = 0; begin < cols; begin += kPart, stage ^= 1) {
      if (begin + kPart < cols) fetch(stage ^ 1, begin + kPart);
      CopyCommit();
      CopyWait<1>();
      Sync();
      if (Thread() < kLanes) {
        const int count = cols - begin < kPart ? cols - begin : kPart;
        const Shared<float> from = parts.From(stage * 3 * kPart);
        UNROLL(4)
        for (int i = Thread(); i < count; i += kLanes) {
          const Float g = Mul(from.At(i), from.At(2 * kPart + i));
          sum = Fma(g, Mul(from.At(kPart + i), rstd), sum);
        }
      }
      Sync();
    }
    CopyWait<0>();
    if (Warp() == 0) {
      const Float total = SumLanes(sum);
      // The sign is changed, which a subtraction from 0 would not do to a 0.
      if (Thread() == 0) scale.Put(0, FromBits(BitsOf(Div(total, OfInteger(cols))) ^ 0x80000000u));
    }
    Sync();
    const Float minus_mean = scale.At(0);
    const Global<float> dx = args.dx.Row(Block());
    for (int i = Thread() * N; i < cols; i += kThreads * N) {
      Floats<N> d = Each<N>(
          [&](Float dy, Float w, Float x) { return Mul(rstd, Fma(Mul(x, rstd), minus_mean, Mul(dy, w))); },
          Read<N>(dy, i), Read<N>(args.weight, i), Read<N>(x, i));
      if (args.add) {
        d = Each<N>([](Float a, Float b) { return Add(a, b); }, d, Read<N>(args.add.Row(Block()), i));
      }
      Write(dx, i, d);
    }
  }
};

// A thread has a column's chain; rows come 16 at a time.
struct NormWeightKernel {
  static constexpr int kThreads = 128, kBlocks = 8;
  static constexpr int kTogether = 16;
  struct Args {
    int64_t rows;
    Rows<const float> dy, x;
    Global<const float> rstd;
    Global<float> dweight;
  };
  WORD static void Run(const Args& args) {
    const int column = Block() * kThreads + Thread();
    if (column >= args.x.cols) return;
    Float sum = args.dweight.At(column);
    for (int64_t row = 0; row < args.rows; row += kTogether) {
      Float dy[kTogether], h[kTogether];
      UNROLL_ALL
      for (int i = 0; i < kTogether; ++i) {
        if (row + i >= args.rows) continue;
        dy[i] = args.dy.Row(row + i).At(column);
        h[i] = Mul(args.x.Row(row + i).At(column), args.rstd.At(row + i));
      }
      UNROLL_ALL
      for (int i = 0; i < kTogether; ++i) {
        if (row + i < args.rows) sum = Fma(dy[i], h[i], sum);
      }
    }
    args.dweight.Put(column, sum);
  }
};

struct RotaryKernel {
  static constexpr int kThreads = 128, kBlocks = 8;
  struct Args {
    Rows<float> x;
    Global<const int32_t> positions;
    const float *cosines, *sines;
    int count, dim;
    int64_t apart;
    Float sign;
    bool interleaved;
  };
  WORD static void Run(const Args& args) {
    const int half = args.dim / 2;
    const int64_t first = static_cast<int64_t>(args.positions.At(Block())) * half;
    const Global<const float> cosines(args.cosines + first, half), sines(args.sines + first, half);
    const Global<float> row = args.x.Row(Block());
    for (int i = Thread(); i < args.count * half; i += kThreads) {
      const int head = i / half, j = i % half;
      const int64_t one = head * args.apart + (args.interleaved ? 2 * j : j);
      const int64_t other = args.interleaved ? one + 1 : one + half;
      const Float a = row.At(one), b = row.At(other);
      const Float c = cosines.At(j), s = Mul(sines.At(j), args.sign);
      row.Put(one, Sub(Mul(a, c), Mul(b, s)));
      row.Put(other, Add(Mul(b, c), Mul(a, s)));
    }
  }
};

template <typename T>
struct GatherKernel {
  static constexpr int kThreads = 256, kBlocks = 8;
  struct Args {
    Rows<const T> x;
    Global<const int32_t> rows;
    Rows<float> out;
  };
  WORD static void Run(const Args& args) {
    const Global<const T> from = args.x.Row(args.rows.At(Block()));
    const Global<float> to = args.out.Row(Block());
    UNROLL(4)
    for (int i = Thread(); i < args.out.cols; i += kThreads) to.Put(i, from.At(i));
  }
};

struct EmbeddingKernel {
  static constexpr int kThreads = 128, kBlocks = 8;
  static constexpr int kWords = 32, kTogether = 32 * kWords;  // rows that are looked at between two barriers
  struct Args {
    int64_t rows;
    Rows<const float> dout;
    Global<const int32_t> ids;
    Rows<float> dtable;
  };
  // Bit t of masks[w]: row begin + 32 w + t is one of the id.
  WORD static void Match(const Args& args, const Shared<uint32_t>& masks, int64_t begin, int32_t id) {
    constexpr int kWarps = kThreads / 32, kEach = kWords / kWarps;
    bool is_of_id[kEach];
    UNROLL_ALL
    for (int i = 0; i < kEach; ++i) {
      const int64_t row = begin + 32 * (kWarps * i + Warp()) + Lane();
      is_of_id[i] = row < args.rows && args.ids.At(row) == id;
    }
    UNROLL_ALL
    for (int i = 0; i < kEach; ++i) {
      const uint32_t mask = Ballot(is_of_id[i]);
      if (Lane() == 0) masks.Put(kWarps * i + Warp(), mask);
    }
    Sync();
  }
  WORD static void Run(const Args& args) {
    SHARED(uint32_t, masks, kWords);
    const int64_t own = Block();
    const int32_t id = args.ids.At(own);
    const Global<float> to = args.dtable.Row(id);
    for (int64_t begin = 0; begin < args.rows; begin += kTogether) {
      Match(args, masks, begin, id);
      for (uint32_t words = Ballot(masks.At(Lane()) != 0); words != 0; words &= words - 1) {
        const int w = LowestBit(words);
        for (uint32_t mask = masks.At(w); mask != 0; mask &= mask - 1) {
          const int64_t row = begin + 32 * w + LowestBit(mask);
          if (row < own) return;  // that row's block adds this one's up
          const Global<const float> from = args.dout.Row(row);
          UNROLL(4)
          for (int i = Thread(); i < args.dout.cols; i += kThreads) to.Put(i, Add(to.At(i), from.At(i)));
        }
      }
      Sync();
    }
  }
};

}  // namespace

void SwiGlu(const SwiGluTask& task, Stream& stream) {
  LaunchElements<SwiGluOp>(stream,
                           {.rows = task.gate.rows,
                            .cols = static_cast<int>(task.gate.cols),
                            .gate = ReadRows(task.gate),
                            .up = ReadRows(task.up),
                            .out = WriteRows(task.out)},
                           AllWide({task.gate, task.up, task.out}));
}

void SwiGluBackward(const SwiGluBackwardTask& task, Stream& stream) {
  LaunchElements<SwiGluBackwardOp>(stream,
                                   {.rows = task.gate.rows,
                                    .cols = static_cast<int>(task.gate.cols),
                                    .dout = ReadRows(task.dout),
                                    .gate = ReadRows(task.gate),
                                    .up = ReadRows(task.up),
                                    .dgate = WriteRows(task.dgate),
                                    .dup = WriteRows(task.dup)},
                                   AllWide({task.dout, task.gate, task.up, task.dgate, task.dup}));
}

void Add(const Matrix& from, const Matrix& to, Stream& stream) {
  InLines(from, to, [&](const Matrix& some, const Matrix& target) {
    LaunchElements<AddOp>(stream,
                          {.rows = some.rows,
                           .cols = static_cast<int>(some.cols),
                           .from = ReadRows(some),
                           .to = WriteRows(target)},
                          AllWide({some, target}));
  });
}

void RoundToBf16(const Matrix& from, const Matrix& to, Stream& stream) {
  InLines(from, to, [&](const Matrix& some, const Matrix& target) {
    const int cols = static_cast<int>(some.cols);
    if (target.type == Type::kF32) {
      return LaunchElements<RoundOp>(
          stream, {.rows = some.rows, .cols = cols, .from = ReadRows(some), .to = WriteRows(target)},
          AllWide({some, target}));
    }
    LaunchElements<HalvesOp>(
        stream,
        {.rows = some.rows,
         .cols = cols,
         .from = ReadRows(some),
         .to = {static_cast<uint16_t*>(target.data), target.rows, target.cols, target.stride}},
        AllWide({some}));
  });
}

void Zero(const Matrix& to, Stream& stream) {
  InLines(to, to, [&](const Matrix& rows, const Matrix&) {
    LaunchElements<ZeroOp>(stream,
                           {.rows = rows.rows, .cols = static_cast<int>(rows.cols), .to = WriteRows(rows)},
                           AllWide({rows}));
  });
}

void Copy(const Matrix& from, const Matrix& to, Stream& stream) {
  TEMPER_CHECK(from.rows == to.rows && from.cols == to.cols, from.rows, " x ", from.cols, " and ", to.rows,
               " x ", to.cols);
  InLines(from, to, [&](const Matrix& some, const Matrix& target) {
    const int cols = static_cast<int>(some.cols);
    CopyHeads({some, 1, cols}, {target, 1, cols}, stream);
  });
}

void CopyHeads(const Heads& from, const Heads& to, Stream& stream) {
  TEMPER_CHECK(from.rows.rows == to.rows.rows && from.count == to.count && from.dim == to.dim, from.rows.rows,
               " x ", from.count, " x ", from.dim, " and ", to.rows.rows, " x ", to.count, " x ", to.dim);
  LaunchElements<CopyOp>(stream,
                         {.rows = from.rows.rows,
                          .cols = from.count * from.dim,
                          .dim = from.dim,
                          .from = ReadRows(WholeRows(from)),
                          .to = WriteRows(WholeRows(to)),
                          .from_apart = from.apart,
                          .to_apart = to.apart},
                         WideHeads(from) && WideHeads(to));
}

void RmsNorm(const RmsNormTask& task, Stream& stream) {
  const int64_t rows = task.x.rows, cols = task.x.cols;
  WideOrNot<NormKernel>(AllWide({task.x, task.y}) && Wide(task.weight), [&]<typename Kernel>() {
    Launch<Kernel>(stream, rows,
                   {.x = ReadRows(task.x),
                    .weight = {task.weight, cols},
                    .eps = Set(task.eps),
                    .y = WriteRows(task.y),
                    .rstd = {task.rstd, rows}});
  });
}

void RmsNormBackward(const RmsNormBackwardTask& task, Stream& stream) {
  const int64_t rows = task.x.rows, cols = task.x.cols;
  // dweight first: dx may then overwrite dy.
  Launch<NormWeightKernel>(stream, rows == 0 ? 0 : CeilOf(cols, NormWeightKernel::kThreads),
                           {.rows = rows,
                            .dy = ReadRows(task.dy),
                            .x = ReadRows(task.x),
                            .rstd = {task.rstd, rows},
                            .dweight = {task.dweight, cols}});
  const bool wide = AllWide({task.dy, task.x, task.add, task.dx}) && Wide(task.weight);
  WideOrNot<NormBackwardKernel>(wide, [&]<typename Kernel>() {
    Launch<Kernel>(stream, rows,
                   {.dy = ReadRows(task.dy),
                    .x = ReadRows(task.x),
                    .weight = {task.weight, cols},
                    .rstd = {task.rstd, rows},
                    .add = ReadRows(task.add),
                    .dx = WriteRows(task.dx)});
  });
}

void Rotary(const RotaryTask& task, Stream& stream) {
  const Matrix& x = task.x.rows;
  // The last head's end is the row's.
  const int64_t width = (task.x.count - 1) * task.x.apart + task.x.dim;
  Launch<RotaryKernel>(stream, x.rows,
                       {.x = {x.f32(), x.rows, width, x.stride},
                        .positions = {task.positions, x.rows},
                        .cosines = task.cosines,
                        .sines = task.sines,
                        .count = task.x.count,
                        .dim = task.x.dim,
                        .apart = task.x.apart,
                        .sign = Set(task.inverse ? -1.0f : 1.0f),
                        .interleaved = task.interleaved});
}

void GatherRows(const GatherRowsTask& task, Stream& stream) {
  const Matrix &x = task.x, &out = task.out;
  if (x.type == Type::kBf16) {
    return Launch<GatherKernel<Bf16>>(stream, out.rows,
                                      {.x = {static_cast<const Bf16*>(x.data), x.rows, x.cols, x.stride},
                                       .rows = {task.rows, out.rows},
                                       .out = WriteRows(out)});
  }
  Launch<GatherKernel<float>>(stream, out.rows,
                              {.x = ReadRows(x), .rows = {task.rows, out.rows}, .out = WriteRows(out)});
}

void EmbeddingGradient(const EmbeddingGradientTask& task, Stream& stream) {
  Launch<EmbeddingKernel>(stream, task.dout.rows,
                          {.rows = task.dout.rows,
                           .dout = ReadRows(task.dout),
                           .ids = {task.ids, task.dout.rows},
                           .dtable = WriteRows(task.dtable)});
}

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
