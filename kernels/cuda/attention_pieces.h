// SPDX-License-Identifier: Apache-2.0
// What kernels of attention share: who sees which keys, where a pair's numbers are, and the block's softmax.
// Included only by kernels/cuda/attention*.cc.
#pragma once

#include "kernels/attention.h"
#include "kernels/cuda/arithmetic.h"
#include "kernels/cuda/tiles.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {

constexpr int kSplitBlocks = kAttentionSplit / kAttentionBlock;

// Keys of a block that a query sees: [begin, end).
struct Seen {
  int begin, end;
  WORD bool none() const { return begin >= end; }
  WORD bool all() const { return begin == 0 && end == kAttentionBlock; }
};
WORD int Clamped(int64_t x) {
  return x < 0 ? 0 : x > kAttentionBlock ? kAttentionBlock : static_cast<int>(x);
}
WORD int64_t FirstKeyOf(int64_t position, int64_t window) {
  return window == 0 || position < window ? 0 : position - window + 1;
}
WORD Seen SeenOf(int64_t position, int64_t window, int64_t block) {
  return {Clamped(FirstKeyOf(position, window) - kAttentionBlock * block),
          Clamped(position + 1 - kAttentionBlock * block)};
}

// A maximum, and the sum of the exponentials of what is below it.
struct Peak {
  Float max, sum;
};
WORD Peak NoPeak() { return {Set(-__builtin_inff()), Set(0.0f)}; }

// Of 16 lanes with 4 scores each: makes probabilities of them, and joins them to the pair's peak. What the
// pair had before counts `correction` of what it did.
WORD Float SoftmaxOf(Float (&scores)[4], Peak& peak) {
  Float top = Set(-__builtin_inff());
  UNROLL_ALL
  for (int c = 0; c < 4; ++c) top = Max(top, scores[c]);
  for (int half = 8; half >= 1; half /= 2) top = Max(top, ShuffleXor(top, half));
  const Float max = Max(peak.max, top), correction = Exp(Sub(peak.max, max));
  Float sum = Set(0.0f);
  UNROLL_ALL
  for (int c = 0; c < 4; ++c) {
    scores[c] = Exp(Sub(scores[c], max));
    sum = Add(sum, scores[c]);
  }
  peak = {max, Fma(peak.sum, correction, SumLanes(sum))};
  return correction;
}

// What each of two parts counts in their merge.
struct Shares {
  Float before, now;
};
WORD Shares Merge(Peak& before, const Peak& now) {
  const Float max = Max(before.max, now.max);
  const Shares shares{Exp(Sub(before.max, max)), Exp(Sub(now.max, max))};
  before = {max, Add(Mul(before.sum, shares.before), Mul(now.sum, shares.now))};
  return shares;
}
WORD Float Merged(const Shares& shares, Float before, Float now) {
  return Add(Mul(before, shares.before), Mul(now, shares.now));
}

WORD Float LogOfSum(const Peak& peak) { return Narrow(Add(Widen(peak.max), Log(Widen(peak.sum)))); }

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
