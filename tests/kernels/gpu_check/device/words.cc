// SPDX-License-Identifier: Apache-2.0
#include "tests/kernels/gpu_check/device/words.h"

#include "kernels/cuda/arithmetic.h"
#include "tests/kernels/gpu_check/device/hash.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {
namespace {

// A warp has a tile.
struct ChainKernel {
  static constexpr int kThreads = 128, kBlocks = 4;
  struct Args {
    Global<const uint16_t> a, b;
    Global<float> c;
    int64_t tiles;
    int steps;
  };
  WORD static uint32_t Two(const Global<const uint16_t>& from, int64_t i) {
    return from.At(i) | static_cast<uint32_t>(from.At(i + 1)) << 16;
  }
  WORD static void Run(const Args& args) {
    const int64_t tile = int64_t{Block()} * (kThreads / 32) + Warp(), length = 16 * args.steps;
    if (tile >= args.tiles) return;
    const auto place = [&](int i) { return (tile * 16 + MmaRow(i / 2)) * 8 + MmaStep(0) + i % 2; };
    Floats<4> c;
    UNROLL_ALL
    for (int i = 0; i < 4; ++i) c[i] = args.c.At(place(i));
    for (int64_t step = 0; step < length; step += 16) {
      uint32_t a[4], b[2];
      UNROLL_ALL
      for (int i = 0; i < 4; ++i) a[i] = Two(args.a, (tile * 16 + MmaRow(i)) * length + step + MmaStep(i));
      UNROLL_ALL
      for (int i = 0; i < 2; ++i)
        b[i] = Two(args.b, (tile * 8 + MmaColumn()) * length + step + MmaStep(2 * i));
      Mma(c, a, b);
    }
    UNROLL_ALL
    for (int i = 0; i < 4; ++i) args.c.Put(place(i), c[i]);
  }
};

// Bits of a number, all that are none being one.
WORD uint64_t Bits(Float y) { return Equal(y, y) ? BitsOf(y) : kOneNaN; }
WORD uint64_t Bits(Double y) {
  const auto bits = static_cast<uint64_t>(BitsOf(y));
  return bits << 1 > kInfinityDoubled ? kOneNaN : bits;
}

template <WordFunction kFunction>
WORD uint64_t BitsOfFunction(Float x) {
  if constexpr (kFunction == WordFunction::kExp) return Bits(Exp(x));
  if constexpr (kFunction == WordFunction::kSigmoid) return Bits(Sigmoid(x));
  if constexpr (kFunction == WordFunction::kSqrt) return Bits(Sqrt(x));
  if constexpr (kFunction == WordFunction::kInverse) return Bits(Div(Set(1.0f), x));
  if constexpr (kFunction == WordFunction::kRound) return Bits(Round(x));
  if constexpr (kFunction == WordFunction::kNearestHalf) return NearestHalf(x);
  if constexpr (kFunction == WordFunction::kLog) return Bits(Log(Widen(x)));
}

template <WordFunction kFunction>
struct FunctionKernel {
  static constexpr int kThreads = kFunctionThreads, kBlocks = 4;
  struct Args {
    uint32_t first, stride;
    int64_t count, threads;
    Global<uint64_t> sums;
  };
  WORD static void Run(const Args& args) {
    uint64_t sum = 0;
    for (int64_t i = int64_t{Block()} * kThreads + Thread(); i < args.count; i += args.threads) {
      const uint32_t x = args.first + static_cast<uint32_t>(i) * args.stride;
      sum += FunctionHash(x, BitsOfFunction<kFunction>(FromBits(x)));
    }
    UNROLL_ALL
    for (int mask = 16; mask >= 1; mask /= 2) sum += ShuffleXor(sum, mask);
    if (Lane() == 0) args.sums.Put(int64_t{Block()} * (kThreads / 32) + Warp(), sum);
  }
};

template <WordFunction kFunction>
void LaunchFunction(const FunctionTask& task, Stream& stream) {
  const int64_t blocks = FunctionBlocks(task.count);
  Launch<FunctionKernel<kFunction>>(stream, blocks,
                                    {.first = task.first,
                                     .stride = task.stride,
                                     .count = task.count,
                                     .threads = blocks * kFunctionThreads,
                                     .sums = {task.sums, FunctionSums(task.count)}});
}

}  // namespace

void MmaChains(const MmaChainsTask& task, Stream& stream) {
  const int64_t steps = task.tiles * 16 * task.steps;
  Launch<ChainKernel>(stream, CeilOf(task.tiles, ChainKernel::kThreads / 32),
                      {.a = {task.a, steps * 16},
                       .b = {task.b, steps * 8},
                       .c = {task.c, task.tiles * 16 * 8},
                       .tiles = task.tiles,
                       .steps = task.steps});
}

void SumFunction(const FunctionTask& task, Stream& stream) {
  switch (task.function) {
    case WordFunction::kExp:
      return LaunchFunction<WordFunction::kExp>(task, stream);
    case WordFunction::kSigmoid:
      return LaunchFunction<WordFunction::kSigmoid>(task, stream);
    case WordFunction::kSqrt:
      return LaunchFunction<WordFunction::kSqrt>(task, stream);
    case WordFunction::kInverse:
      return LaunchFunction<WordFunction::kInverse>(task, stream);
    case WordFunction::kRound:
      return LaunchFunction<WordFunction::kRound>(task, stream);
    case WordFunction::kNearestHalf:
      return LaunchFunction<WordFunction::kNearestHalf>(task, stream);
    case WordFunction::kLog:
      return LaunchFunction<WordFunction::kLog>(task, stream);
  }
}

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
