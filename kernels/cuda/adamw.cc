// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/adamw.h"

#include "kernels/cuda/elements.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {
namespace {

WORD uint32_t SizeBits(Float x) { return BitsOf(x) & 0x7fffffffu; }
constexpr uint32_t kInfinity = 0x7f800000;  // sizes above it are no numbers
WORD void MeetSize(uint32_t size, Met& met) {
  if (size <= kInfinity && size > met.largest) met.largest = size;
}

struct AdamWOp {
  static constexpr bool kLargest = true;
  struct Args {
    int64_t count;
    AdamWFactors factors;
    Global<const float> gradient;
    Global<float> weight, m, v;
    Global<uint32_t> words;
  };
  template <int N>
  WORD static void Of(const Args& a, int64_t i, Met& met) {
    const AdamWFactors& f = a.factors;
    const Floats<N> gradient = Read<N>(a.gradient, i);
    Floats<N> weight = Read<N>(a.weight, i), m = Read<N>(a.m, i), v = Read<N>(a.v, i);
    UNROLL_ALL
    for (int j = 0; j < N; ++j) {
      const Float g = Mul(gradient[j], Set(f.gradient_scale));
      const Float decayed = Fma(weight[j], Set(f.decay), weight[j]);
      m[j] = Fma(Set(f.m_rate), Sub(g, m[j]), m[j]);
      v[j] = Fma(Mul(Set(f.v_rate), g), g, Mul(Set(f.v_keep), v[j]));
      const Float root = Add(Div(Sqrt(v[j]), Set(f.root_correction)), Set(f.epsilon));
      weight[j] = Sub(decayed, Div(Mul(Set(f.step), m[j]), root));
      // A moment m that is not finite makes such a weight.
      met.bad = met.bad || SizeBits(weight[j]) >= kInfinity || SizeBits(v[j]) >= kInfinity;
      MeetSize(SizeBits(weight[j]), met);
    }
    Write(a.m, i, m);
    Write(a.v, i, v);
    Write(a.weight, i, weight);
  }
};

struct LargestOp {
  static constexpr bool kLargest = true;
  struct Args {
    int64_t count;
    Global<const float> x;
    Global<uint32_t> words;
  };
  template <int N>
  WORD static void Of(const Args& a, int64_t i, Met& met) {
    const Floats<N> x = Read<N>(a.x, i);
    UNROLL_ALL
    for (int j = 0; j < N; ++j) MeetSize(SizeBits(x[j]), met);
  }
};

// A warp has a piece: all of its lanes fetch, the first one has the chain. A square of an f32 is exact in
// f64.
template <int N>
struct SquaresKernel {
  static constexpr int kThreads = 128, kBlocks = 8;
  static constexpr int kStage = 512;
  struct Args {
    int64_t count, pieces;
    Global<const float> x;
    Global<double> sums;
  };
  WORD static void Run(const Args& args) {
    SHARED(float, stages, kThreads / 32 * 2 * kStage);
    const int64_t piece = int64_t{Block()} * (kThreads / 32) + Warp();
    if (piece >= args.pieces) return;
    const int64_t first = piece * kSquaresPiece, left = args.count - first;
    const int count = static_cast<int>(left < kSquaresPiece ? left : kSquaresPiece);
    const Shared<float> own = stages.From(Warp() * 2 * kStage);
    const auto fetch = [&](int begin) {
      const Shared<float> to = own.From(begin / kStage % 2 * kStage);
      for (int i = Lane() * N; i < kStage && begin + i < count; i += 32 * N)
        CopyAsync<N>(to.From(i), args.x.From(first + begin + i), count - begin - i);
    };
    Double chain = SetDouble(0);
    fetch(0);
    CopyCommit();
    for (int begin = 0; begin < count; begin += kStage) {
      fetch(begin + kStage);
      CopyCommit();
      CopyWait<1>();
      WarpSync();
      if (Lane() == 0) {
        const Shared<float> from = own.From(begin / kStage % 2 * kStage);
        const int steps = count - begin < kStage ? count - begin : kStage;
        UNROLL(8)
        for (int i = 0; i < steps; ++i) {
          const Double x = Widen(from.At(i));
          chain = Fma(x, x, chain);
        }
      }
      WarpSync();
    }
    CopyWait<0>();
    if (Lane() == 0) args.sums.Put(1 + piece, chain);
  }
};

// The pieces' sums, ascending.
struct SumKernel {
  static constexpr int kThreads = 32, kBlocks = 1;
  struct Args {
    int64_t pieces;
    Global<double> sums;
  };
  WORD static void Run(const Args& args) {
    if (Thread() != 0) return;
    Double sum = SetDouble(0);
    UNROLL(8)
    for (int64_t piece = 0; piece < args.pieces; ++piece) sum = Add(sum, args.sums.At(1 + piece));
    args.sums.Put(0, sum);
  }
};

}  // namespace

void AdamW(const AdamWTask& task, uint32_t* words, Stream& stream) {
  LaunchRun<AdamWOp>(stream,
                     {.count = task.n,
                      .factors = FactorsOf(task.step),
                      .gradient = {task.gradient, task.n},
                      .weight = {task.weight, task.n},
                      .m = {task.m, task.n},
                      .v = {task.v, task.n},
                      .words = {words, 2}},
                     Wide(task.gradient) && Wide(task.weight) && Wide(task.m) && Wide(task.v));
}

void Largest(const LargestTask& task, Stream& stream) {
  LaunchRun<LargestOp>(stream, {.count = task.n, .x = {task.x, task.n}, .words = {task.words, 2}},
                       Wide(task.x));
}

void SumOfSquares(const SquaresTask& task, Stream& stream) {
  const int64_t pieces = PiecesOfSquares(task.n);
  WideOrNot<SquaresKernel>(Wide(task.x), [&]<typename Kernel>() {
    Launch<Kernel>(
        stream, CeilOf(pieces, Kernel::kThreads / 32),
        {.count = task.n, .pieces = pieces, .x = {task.x, task.n}, .sums = {task.sums, pieces + 1}});
  });
  Launch<SumKernel>(stream, 1, {.pieces = pieces, .sums = {task.sums, pieces + 1}});
}

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
