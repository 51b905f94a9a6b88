// SPDX-License-Identifier: Apache-2.0
// Launches that show what single words of kernels/cuda/device.h give on a device, compiled as the kernels
// are.
#pragma once

#include <stdint.h>

#include "kernels/cuda/stream.h"

namespace temper::kernels {

// c[tiles][16][8] goes on by `steps` steps of 16: of a[tiles][16][16 steps] and b[tiles][8][16 steps], bf16.
struct MmaChainsTask {
  const uint16_t *a = nullptr, *b = nullptr;
  float* c = nullptr;
  int64_t tiles = 0;
  int steps = 1;
};

enum class WordFunction { kExp, kSigmoid, kSqrt, kInverse, kRound, kNearestHalf, kLog };
inline constexpr const char* kWordFunctions[] = {"exp",   "sigmoid",      "sqrt", "1 / x",
                                                 "round", "nearest bf16", "log"};

// f(x) of the f32 whose bits are first, first + stride, .. , `count` of them, modulo 2^32. The sums of
// FunctionHash add up to one that knows no order.
struct FunctionTask {
  WordFunction function = WordFunction::kExp;
  uint32_t first = 0, stride = 1;
  int64_t count = 0;
  uint64_t* sums = nullptr;  // FunctionSums(count) of them
};
inline constexpr int64_t kFunctionThreads = 256, kOfFunctionThread = 64;
inline int64_t FunctionBlocks(int64_t count) {
  const int64_t most = 16 * 132, of_block = kFunctionThreads * kOfFunctionThread;
  return count < most * of_block ? (count + of_block - 1) / of_block : most;
}
inline int64_t FunctionSums(int64_t count) { return FunctionBlocks(count) * (kFunctionThreads / 32); }

#define TEMPER_DEVICE_CHECKED_WORDS(DEVICE)                   \
  namespace DEVICE {                                          \
  void MmaChains(const MmaChainsTask& task, Stream& stream);  \
  void SumFunction(const FunctionTask& task, Stream& stream); \
  }
TEMPER_DEVICE_CHECKED_WORDS(sim)
TEMPER_DEVICE_CHECKED_WORDS(sm90)
#undef TEMPER_DEVICE_CHECKED_WORDS

}  // namespace temper::kernels
