// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/token_logprob.h"

#include "kernels/cpu/simd.h"
#include "kernels/sample.h"
#include "kernels/token_logprob.h"

namespace temper::kernels {
namespace TEMPER_ISA {
namespace {

inline int Lanes(int64_t left) { return left < kLanes ? static_cast<int>(left) : kLanes; }

inline F16 Scaled(F16 logits, F16 temperature, bool divide) {
  return divide ? Div(logits, temperature) : logits;
}

float RowMax(const float* row, int64_t n) {
  F16 top[4] = {Set(-__builtin_inff()), Set(-__builtin_inff()), Set(-__builtin_inff()),
                Set(-__builtin_inff())};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int c = 0; c < 4; ++c) top[c] = Max(top[c], Load(row + i + c * kLanes));
  }
  for (; i < n; i += kLanes) {
    const int lanes = Lanes(n - i);
    top[0] = Select(FirstLanes(lanes), Max(top[0], LoadFirst(row + i, lanes)), top[0]);
  }
  return MaxLanes(Max(Max(top[0], top[1]), Max(top[2], top[3])));
}

// Division by the temperature keeps the order, so the largest logit is divided alone. T = 1 divides nothing:
// x / 1 is x.
MaxSum Chunk(const float* row, int64_t n, float temperature) {
  MaxSum out{RowMax(row, n), 0.0f};
  const bool divide = temperature != 1.0f;
  if (divide) out.max = out.max / temperature;
  if (out.max == -__builtin_inff()) return out;
  const F16 max = Set(out.max), t = Set(temperature);
  F16 sum = Set(0.0f);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) sum = Add(sum, Exp(Sub(Scaled(Load(row + i), t, divide), max)));
  if (i < n) {
    const int lanes = Lanes(n - i);
    const F16 e = Exp(Sub(Scaled(LoadFirst(row + i, lanes), t, divide), max));
    sum = Add(sum, Select(FirstLanes(lanes), e, Set(0.0f)));
  }
  out.sum = SumLanes(sum);
  return out;
}

MaxSum Merge(MaxSum a, MaxSum b) {
  if (b.max == -__builtin_inff()) return a;
  if (a.max == -__builtin_inff()) return b;
  const float max = a.max > b.max ? a.max : b.max;
  return {max, a.sum * ExpOne(a.max - max) + b.sum * ExpOne(b.max - max)};
}

inline double SumLanes(double* lanes) {
  for (int half = 8; half >= 1; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] = lanes[i] + lanes[i + half];
  }
  return lanes[0];
}

}  // namespace

MaxSum MergeAll(MaxSum* sums, int count) {
  for (; count > 1; count /= 2) {
    for (int i = 0; i < count / 2; ++i) sums[i] = Merge(sums[2 * i], sums[2 * i + 1]);
  }
  return sums[0];
}

MaxSum MaxAndSum(const LogitRow& row) {
  const int64_t whole = row.part.whole > 0 ? row.part.whole : row.vocab, last = row.part.begin + row.vocab;
  MaxSum chunks[8];
  int count = 0;
  for (int c = 0; c < 8; ++c) {
    const int64_t begin = c * whole / 8, end = (c + 1) * whole / 8;
    if (begin < row.part.begin || end > last) continue;
    chunks[count++] = Chunk(row.logits + (begin - row.part.begin), end - begin, row.temperature);
  }
  return MergeAll(chunks, count);
}

ExpRowResult ExpRow(const LogitRow& row, const LogSumExp& sum, float* e) {
  const int64_t n = row.vocab;
  const bool divide = row.temperature != 1.0f;
  const F16 t = Set(row.temperature), top = Set(sum.max), log = Set(sum.log_sum), zero = Set(0.0f);
  double total[kLanes] = {}, entropy[kLanes] = {};
  for (int64_t i = 0; i < n; i += kLanes) {
    const int lanes = Lanes(n - i);
    const F16 below = Sub(Scaled(LoadFirst(row.logits + i, lanes), t, divide), top);
    const F16 p = Select(FirstLanes(lanes), Exp(below), zero);
    // A logit of -inf has e = 0 and must not give 0 * inf.
    const F16 surprise = Select(Less(zero, p), Sub(log, below), zero);
    float pf[kLanes], sf[kLanes];
    Store(pf, p);
    Store(sf, surprise);
    for (int l = 0; l < kLanes; ++l) {
      total[l] = total[l] + static_cast<double>(pf[l]);
      entropy[l] = entropy[l] + static_cast<double>(pf[l]) * static_cast<double>(sf[l]);
    }
    if (e != nullptr) StoreFirst(e + i, p, lanes);
  }
  return {SumLanes(total), SumLanes(entropy)};
}

void BlockSums(const float* e, int64_t n, double* sums) {
  // A chain alone waits for each addition: several blocks go side by side.
  constexpr int kTogether = 8;
  int64_t block = 0;
  for (; (block + kTogether) * kSampleBlock <= n; block += kTogether) {
    const float* const from = e + block * kSampleBlock;
    double chain[kTogether] = {};
    for (int64_t i = 0; i < kSampleBlock; ++i) {
#pragma GCC unroll 8
      for (int b = 0; b < kTogether; ++b)
        chain[b] = chain[b] + static_cast<double>(from[b * kSampleBlock + i]);
    }
    for (int b = 0; b < kTogether; ++b) sums[block + b] = chain[b];
  }
  for (; block * kSampleBlock < n; ++block) {
    double chain = 0;
    for (int64_t i = block * kSampleBlock; i < n && i < (block + 1) * kSampleBlock; ++i)
      chain = chain + static_cast<double>(e[i]);
    sums[block] = chain;
  }
}

void SoftmaxGradient(const SoftmaxGradientTask& task) {
  float* const row = task.row;
  const int64_t n = task.n, target = task.target;
  const bool divide = task.temperature != 1.0f;
  const F16 t = Set(task.temperature), top = Set(task.max), log = Set(task.log_sum), f = Set(task.factor),
            zero = Set(0.0f);
  float at_target = 0;
  for (int64_t i = 0; i < n; i += kLanes) {
    const int lanes = Lanes(n - i);
    const F16 p = Exp(Sub(Sub(Scaled(LoadFirst(row + i, lanes), t, divide), top), log));
    if (i <= target && target < i + kLanes) {
      float pf[kLanes];
      Store(pf, p);
      at_target = (1.0f - pf[target - i]) * task.factor;
    }
    StoreFirst(row + i, Mul(Sub(zero, p), f), lanes);
  }
  if (target >= 0) row[target] = at_target;
}

int64_t FirstLargest(const float* row, int64_t n) {
  const float max = RowMax(row, n);
  for (int64_t i = 0; i < n; ++i) {
    if (row[i] == max) return i;
  }
  return 0;
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
