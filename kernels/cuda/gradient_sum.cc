// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/gradient_sum.h"

#include "kernels/cuda/elements.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {
namespace {

// Memory of floats holds halves of integers too: their bits go through registers of floats as they are.
WORD uint64_t Join(Float high, Float low) { return static_cast<uint64_t>(BitsOf(high)) << 32 | BitsOf(low); }
WORD Float UpperOf(uint64_t quanta) { return FromBits(static_cast<uint32_t>(quanta >> 32)); }
WORD Float LowerOf(uint64_t quanta) { return FromBits(static_cast<uint32_t>(quanta)); }

// A double of less than 2^51, plus this, has the nearest whole number in its last bits.
WORD Double WholeBits() { return SetDouble(6755399441055744.0); }  // 1.5 x 2^52
WORD uint64_t Nearest(Double x) {
  return static_cast<uint64_t>(BitsOf(Add(x, WholeBits()))) - static_cast<uint64_t>(BitsOf(WholeBits()));
}

// kernels/cpu/gradient_sum.cc's, halves apart.
WORD uint64_t Quanta(Float value, const QuantaScale& scale, Met& met) {
  const Double exact = Mul(Widen(value), SetDouble(scale.scale));
  met.bad = met.bad || BitsOf(Abs(exact)) >= scale.limit;
  const Double upper =
      Sub(Add(Mul(exact, SetDouble(2.3283064365386962890625e-10)), WholeBits()), WholeBits());
  const Double lower = Sub(exact, Mul(upper, SetDouble(4294967296.0)));
  return (Nearest(upper) << 32) + Nearest(lower);
}

template <int N>
WORD void WriteHalves(const Global<float>& first, const Global<float>& second, int64_t i,
                      const uint64_t (&quanta)[N]) {
  Floats<N> highs, lows;
  UNROLL_ALL
  for (int j = 0; j < N; ++j) {
    highs[j] = UpperOf(quanta[j]);
    lows[j] = LowerOf(quanta[j]);
  }
  Write(first, i, highs);
  Write(second, i, lows);
}

struct SumArgs {
  int64_t count;
  QuantaScale scale;
  Global<float> first, second, leaf;
  Global<int64_t> out;
  Global<uint32_t> words;
};

// Of the sum so far at i.
template <bool kOneLeaf, int N>
WORD void ReadQuanta(const SumArgs& a, int64_t i, Met& met, uint64_t (&quanta)[N]) {
  const Floats<N> first = Read<N>(a.first, i);
  if constexpr (kOneLeaf) {
    UNROLL_ALL
    for (int j = 0; j < N; ++j) quanta[j] = Quanta(first[j], a.scale, met);
  } else {
    const Floats<N> second = Read<N>(a.second, i);
    UNROLL_ALL
    for (int j = 0; j < N; ++j) quanta[j] = Join(first[j], second[j]);
  }
}

template <bool kOneLeaf>
struct AddLeafOp {
  static constexpr bool kLargest = false;
  using Args = SumArgs;
  template <int N>
  WORD static void Of(const Args& a, int64_t i, Met& met) {
    uint64_t quanta[N];
    ReadQuanta<kOneLeaf>(a, i, met, quanta);
    const Floats<N> leaf = Read<N>(a.leaf, i);
    UNROLL_ALL
    for (int j = 0; j < N; ++j) quanta[j] += Quanta(leaf[j], a.scale, met);
    WriteHalves(a.first, kOneLeaf ? a.leaf : a.second, i, quanta);
  }
};

template <bool kOneLeaf>
struct AddQuantaOp {
  static constexpr bool kLargest = false;
  using Args = SumArgs;
  template <int N>
  WORD static void Of(const Args& a, int64_t i, Met& met) {
    uint64_t quanta[N];
    ReadQuanta<kOneLeaf>(a, i, met, quanta);
    UNROLL_ALL
    for (int j = 0; j < N; ++j)
      a.out.Put(i + j, static_cast<int64_t>(static_cast<uint64_t>(a.out.At(i + j)) + quanta[j]));
  }
};

template <bool kOneLeaf>
struct RoundGradientOp {
  static constexpr bool kLargest = false;
  using Args = SumArgs;
  template <int N>
  WORD static void Of(const Args& a, int64_t i, Met& met) {
    uint64_t quanta[N];
    ReadQuanta<kOneLeaf>(a, i, met, quanta);
    const Float quantum = Narrow(SetDouble(a.scale.quantum));
    Floats<N> sums;
    UNROLL_ALL
    for (int j = 0; j < N; ++j) sums[j] = Mul(OfInteger(static_cast<int64_t>(quanta[j])), quantum);
    Write(a.first, i, sums);
  }
};

struct RoundQuantaOp {
  static constexpr bool kLargest = false;
  using Args = SumArgs;
  template <int N>
  WORD static void Of(const Args& a, int64_t i, Met&) {
    const Float quantum = Narrow(SetDouble(a.scale.quantum));
    Floats<N> sums;
    UNROLL_ALL
    for (int j = 0; j < N; ++j) sums[j] = Mul(OfInteger(a.out.At(i + j)), quantum);
    Write(a.first, i, sums);
  }
};

template <template <bool> typename Op>
void LaunchSum(Stream& stream, const SumArgs& args, bool one_leaf) {
  const bool wide = Wide(args.first.data()) && Wide(args.second.data()) && Wide(args.leaf.data());
  one_leaf ? LaunchRun<Op<true>>(stream, args, wide) : LaunchRun<Op<false>>(stream, args, wide);
}

SumArgs ArgsOf(const LeafSum& sum, uint32_t* words) {
  return {.count = sum.n,
          .scale = ScaleOf(sum.rule),
          .first = {sum.first, sum.n},
          .second = {sum.second, sum.n},
          .leaf = {},
          .out = {},
          .words = {words, 1}};
}

SumArgs ArgsOf(const AddQuantaTask& task) {
  LeafSum part = task.sum;
  part.n = task.count;
  part.first += task.first;
  if (part.second != nullptr) part.second += task.first;
  SumArgs args = ArgsOf(part, task.words);
  args.out = {task.out, task.count};
  return args;
}

}  // namespace

void AddLeaf(const AddLeafTask& task, Stream& stream) {
  SumArgs args = ArgsOf(task.sum, task.words);
  args.leaf = {task.leaf, task.sum.n};
  LaunchSum<AddLeafOp>(stream, args, task.sum.second == nullptr);
}

void AddQuanta(const AddQuantaTask& task, Stream& stream) {
  LaunchSum<AddQuantaOp>(stream, ArgsOf(task), task.sum.second == nullptr);
}

void RoundQuanta(const AddQuantaTask& task, Stream& stream) {
  const SumArgs args = ArgsOf(task);
  LaunchRun<RoundQuantaOp>(stream, args, Wide(args.first.data()));
}

void RoundGradient(const LeafSum& sum, uint32_t* words, Stream& stream) {
  LaunchSum<RoundGradientOp>(stream, ArgsOf(sum, words), sum.second == nullptr);
}

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
