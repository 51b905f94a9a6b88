// SPDX-License-Identifier: Apache-2.0
// What token logprobs and sampling share of a row of logits: the sums of its chunks and their tree, and the
// f64 sums of its entropy (kernels/token_logprob.h). Included only by kernels/cuda/*.cc.
#pragma once

#include "kernels/cuda/arithmetic.h"
#include "kernels/cuda/elements.h"
#include "kernels/gemm.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {

constexpr int kLogitThreads = 256, kLogitWarps = kLogitThreads / 32;
constexpr int kPieceLogits = 1024;  // whose exponentials are made while those before are added up

WORD Float NoLogit() { return Set(-__builtin_inff()); }

// T = 0 is for others to see: here it is 1, which divides nothing.
struct Temperature {
  Float value;
  bool divides;

  WORD static Temperature Of(Float t) {
    const Float value = Select(Equal(t, Set(0.0f)), Set(1.0f), t);
    return {value, !Equal(value, Set(1.0f))};
  }
  WORD Float operator()(Float logit) const { return divides ? Div(logit, value) : logit; }
};

// The largest of some logits / T, and the sum of exp(logit / T - max).
struct MaxAndSum {
  Float max, sum;
};
WORD MaxAndSum Merge(const MaxAndSum& a, const MaxAndSum& b) {
  if (Equal(b.max, NoLogit())) return a;
  if (Equal(a.max, NoLogit())) return b;
  const Float max = Max(a.max, b.max);
  return {max, Add(Mul(a.sum, Exp(Sub(a.max, max))), Mul(b.sum, Exp(Sub(b.max, max))))};
}
// The tree over a row's `count` subtrees, 1, 2, 4 or 8 of them; one without a logit changes nothing.
WORD MaxAndSum MergeChunks(const Global<float>& sums, int64_t row, int count) {
  MaxAndSum all[kChunks];
  UNROLL_ALL
  for (int c = 0; c < kChunks; ++c) {
    const int64_t at = 2 * (row * count + c);
    all[c] = c < count ? MaxAndSum{sums.At(at), sums.At(at + 1)} : MaxAndSum{NoLogit(), Set(0.0f)};
  }
  UNROLL_ALL
  for (int half = kChunks / 2; half >= 1; half /= 2) {
    UNROLL_ALL
    for (int i = 0; i < half; ++i) all[i] = Merge(all[2 * i], all[2 * i + 1]);
  }
  return all[0];
}

// A block has a chunk of a row: its largest logit, then its exponentials, which seven warps make for the
// sixteen chains of the first.
struct ChunkKernel {
  static constexpr int kThreads = kLogitThreads, kBlocks = 8;
  struct Args {
    Rows<const float> logits;
    Global<const float> temperatures;  // a row's; or none
    Float temperature;                 // all rows'
    int64_t begin, whole;              // kernels/gemm.h's AxisPart
    int first, count;                  // of chunks
    Global<float> sums;                // [rows][count] of max and sum
  };
  WORD static Float Largest(const Global<const float>& logits, int count) {
    SHARED(float, tops, kLogitWarps);
    Float top = NoLogit();
    UNROLL(4)
    for (int i = Thread(); i < count; i += kThreads) top = Max(top, logits.At(i));
    UNROLL_ALL
    for (int mask = 16; mask >= 1; mask /= 2) top = Max(top, ShuffleXor(top, mask));
    if (Lane() == 0) tops.Put(Warp(), top);
    Sync();
    top = tops.At(0);
    UNROLL_ALL
    for (int w = 1; w < kLogitWarps; ++w) top = Max(top, tops.At(w));
    return top;
  }
  WORD static void Run(const Args& args) {
    SHARED(float, exponentials, 2 * kPieceLogits);
    const int64_t row = Block() / args.count, chunk = args.first + Block() % args.count;
    const int64_t first = chunk * args.whole / kChunks, end = (chunk + 1) * args.whole / kChunks;
    const int count = static_cast<int>(end - first);
    const Global<const float> logits = args.logits.Row(row).From(first - args.begin);
    const Temperature scaled =
        Temperature::Of(args.temperatures ? args.temperatures.At(row) : args.temperature);
    const Float top = Largest(logits, count), max = scaled(top);
    Float sum = Set(0.0f);
    if (!Equal(max, NoLogit())) {
      const int pieces = (count + kPieceLogits - 1) / kPieceLogits;
      for (int piece = 0; piece <= pieces; ++piece) {
        if (Warp() > 0 && piece < pieces) {
          const int begin = piece * kPieceLogits;
          const int left = count - begin < kPieceLogits ? count - begin : kPieceLogits;
          for (int i = Thread() - 32; i < left; i += kThreads - 32)
            exponentials.Put(piece % 2 * kPieceLogits + i, Exp(Sub(scaled(logits.At(begin + i)), max)));
        }
        if (Thread() < kLanes && piece > 0) {
          const int begin = (piece - 1) * kPieceLogits;
          const int left = count - begin < kPieceLogits ? count - begin : kPieceLogits;
          UNROLL(8)
          for (int i = Thread(); i < left; i += kLanes)
            sum = Add(sum, exponentials.At((piece - 1) % 2 * kPieceLogits + i));
        }
        Sync();
      }
    }
    if (Warp() > 0) return;
    sum = SumLanes(sum);
    if (Thread() > 0) return;
    args.sums.Put(2 * Block(), max);
    args.sums.Put(2 * Block() + 1, sum);
  }
};

// Sums of exp(z - max), z = logit / T, and of its product with log_sum - (z - max), in f64.
struct ExpSums {
  Double total, entropy;
};
// In all lanes of the first warp. All threads of the block come; put(i, exp) gets each exponential.
template <typename Put>
WORD ExpSums SumExps(const Global<const float>& logits, int count, const Temperature& scaled, Float max,
                     Float log_sum, const Put& put) {
  SHARED(float, exps, 2 * kPieceLogits);
  SHARED(float, surprises, 2 * kPieceLogits);
  Double chain = SetDouble(0);
  const int pieces = (count + kPieceLogits - 1) / kPieceLogits;
  for (int piece = 0; piece <= pieces; ++piece) {
    if (Warp() > 0 && piece < pieces) {
      const int begin = piece * kPieceLogits;
      const int left = count - begin < kPieceLogits ? count - begin : kPieceLogits;
      for (int i = Thread() - 32; i < left; i += kLogitThreads - 32) {
        const Float below = Sub(scaled(logits.At(begin + i)), max), e = Exp(below);
        const int at = piece % 2 * kPieceLogits + i;
        exps.Put(at, e);
        // A logit of -inf has e = 0 and must not give 0 * inf.
        surprises.Put(at, Select(Less(Set(0.0f), e), Sub(log_sum, below), Set(0.0f)));
        put(begin + i, e);
      }
    }
    // The products are exact. The first half of the warp adds up what the second multiplies.
    if (Warp() == 0 && piece > 0) {
      const int begin = (piece - 1) * kPieceLogits, from = (piece - 1) % 2 * kPieceLogits;
      const int left = count - begin < kPieceLogits ? count - begin : kPieceLogits;
      UNROLL(8)
      for (int i = Lane() % kLanes; i < left; i += kLanes) {
        const Float factor = Lane() < kLanes ? Set(1.0f) : surprises.At(from + i);
        chain = Fma(Widen(exps.At(from + i)), Widen(factor), chain);
      }
    }
    Sync();
  }
  if (Warp() > 0) return {};
  UNROLL_ALL
  for (int half = kLanes / 2; half >= 1; half /= 2) chain = Add(chain, ShuffleXor(chain, half));
  return {ShuffleFrom(chain, 0), ShuffleFrom(chain, kLanes)};
}

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
