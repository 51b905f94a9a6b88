// SPDX-License-Identifier: Apache-2.0
// The two inner products of attention, forward and backward, and which keys a query sees. Included only by
// kernels/cpu/*.cc.
#pragma once

#include <stdint.h>

#include "kernels/cpu/simd.h"

namespace temper::kernels {
namespace TEMPER_ISA {

// How many keys of a block lie at a position or before it.
inline int Valid(int64_t position, int64_t block) {
  const int64_t left = position + 1 - 64 * block;
  return left > 64 ? 64 : left < 0 ? 0 : static_cast<int>(left);
}

// The first position that a query at `position` sees; and how many keys of a block come before that.
inline int64_t FirstKey(int64_t position, int64_t window) {
  return window == 0 || position < window ? 0 : position - window + 1;
}
inline int Unseen(int64_t first_key, int64_t block) {
  const int64_t before = first_key - 64 * block;
  return before < 0 ? 0 : before > 64 ? 64 : static_cast<int>(before);
}

// Up to 4 outputs [width] whose chains share the vectors x[step]: out[t] = fma(coefficient(t, step), x[step],
// out[t]) for the steps begin[t] <= step < end[t] ascending; coefficient(t, step) is coefficients[t *
// per_output + step * per_step]. Steps outside an output's range are not touched.
template <typename E>
struct Chain {
  const float* coefficients;
  int64_t per_output, per_step;
  const E* x;
  int64_t ldx;
  float* out;
  int64_t ldout;
  int width;
  int count = 0;
  int begin[4] = {}, end[4] = {};
  const E* next = nullptr;  // where x lies the next time, fetched meanwhile
};

// Vectors of 16 that a register tile of 4 rows holds. Where that is one, rows of several lines are read line
// by line in strides, which no processor foresees: the lines of the next strip are fetched, and the first
// strip's own some steps ahead.
#if defined(TEMPER_ISA_avx512)
constexpr int kVectors = 4;
constexpr bool kFetchStrips = false;
#else
constexpr int kVectors = 1;
constexpr bool kFetchStrips = true;
#endif
constexpr int kStepsAhead = 8;

// Lines of kV vectors, for the second cache.
template <int kV, typename E>
inline void FetchNext(const E* from) {
#pragma GCC unroll 4
  for (int c = 0; c < kV; c += static_cast<int>(4 / sizeof(E))) __builtin_prefetch(from + c * kLanes, 0, 2);
}

// Steps [begin, end) of kCount outputs, kV vectors of 16 from column 0; the last one has only `lanes` lanes.
template <int kCount, int kV, typename E>
inline void AccumulateTile(const Chain<E>& chain, int first, int column, int lanes, int begin, int end) {
  if (begin >= end) return;
  F16 acc[kCount][kV];
  const bool whole = lanes == kLanes;
  float* out = chain.out + first * chain.ldout + column;
#pragma GCC unroll 4
  for (int t = 0; t < kCount; ++t) {
#pragma GCC unroll 4
    for (int c = 0; c < kV; ++c) {
      const float* from = out + t * chain.ldout + c * kLanes;
      acc[t][c] = whole ? Load(from) : LoadFirst(from, lanes);
    }
  }
  const float* coefficient = chain.coefficients + first * chain.per_output + begin * chain.per_step;
  const E* x = chain.x + begin * chain.ldx + column;
  const E* next = kV != kVectors || chain.next == nullptr ? nullptr : chain.next + begin * chain.ldx + column;
  for (int step = begin; step < end; ++step) {
    F16 v[kV];
#pragma GCC unroll 4
    for (int c = 0; c < kV; ++c) v[c] = kV > 1 || whole ? Load(x + c * kLanes) : LoadFirst(x, lanes);
    if (next != nullptr) {
      FetchNext<kV>(next);
      next += chain.ldx;
    }
    if (kFetchStrips && kCount == 4) {
      __builtin_prefetch(x + kLanes);
      __builtin_prefetch(x + kStepsAhead * chain.ldx);
    }
#pragma GCC unroll 4
    for (int t = 0; t < kCount; ++t) {
      const F16 w = Set(coefficient[t * chain.per_output]);
#pragma GCC unroll 4
      for (int c = 0; c < kV; ++c) acc[t][c] = Fma(w, v[c], acc[t][c]);
    }
    coefficient += chain.per_step;
    x += chain.ldx;
  }
#pragma GCC unroll 4
  for (int t = 0; t < kCount; ++t) {
#pragma GCC unroll 4
    for (int c = 0; c < kV; ++c) {
      float* to = out + t * chain.ldout + c * kLanes;
      if (whole) {
        Store(to, acc[t][c]);
      } else {
        StoreFirst(to, acc[t][c], lanes);
      }
    }
  }
}

template <int kCount, typename E>
inline void AccumulateColumns(const Chain<E>& chain, int first, int begin, int end) {
  int column = 0;
  for (; column + kVectors * kLanes <= chain.width; column += kVectors * kLanes) {
    AccumulateTile<kCount, kVectors>(chain, first, column, kLanes, begin, end);
  }
#if defined(TEMPER_ISA_avx512)
  for (; column + 2 * kLanes <= chain.width; column += 2 * kLanes) {
    AccumulateTile<kCount, 2>(chain, first, column, kLanes, begin, end);
  }
#endif
  for (; column < chain.width; column += kLanes) {
    const int lanes = chain.width - column < kLanes ? chain.width - column : kLanes;
    AccumulateTile<kCount, 1>(chain, first, column, lanes, begin, end);
  }
}

template <typename E>
inline void Accumulate(const Chain<E>& chain) {
  int from = 0, to = 1 << 30;
  for (int t = 0; t < chain.count; ++t) {
    from = chain.begin[t] > from ? chain.begin[t] : from;
    to = chain.end[t] < to ? chain.end[t] : to;
  }
  // Each output's own first steps, then the common ones, then its own last ones.
  if (from > to) from = to = chain.end[0];
  for (int t = 0; t < chain.count; ++t) {
    AccumulateColumns<1>(chain, t, chain.begin[t], chain.end[t] < from ? chain.end[t] : from);
  }
  switch (chain.count) {
    case 1:
      AccumulateColumns<1>(chain, 0, from, to);
      break;
    case 2:
      AccumulateColumns<2>(chain, 0, from, to);
      break;
    case 3:
      AccumulateColumns<3>(chain, 0, from, to);
      break;
    case 4:
      AccumulateColumns<4>(chain, 0, from, to);
      break;
  }
  for (int t = 0; t < chain.count; ++t) {
    AccumulateColumns<1>(chain, t, chain.begin[t] > to ? chain.begin[t] : to, chain.end[t]);
  }
}

// scores[t][key] = (ascending chain over d of fma(a[t][d], keys[d][key], .) from 0) * scale for the first
// keys of a block ([dim][64]), `most` of them at least; scores is [count][64].
template <typename E>
struct DotProducts {
  const float* const* a;
  const E* keys;
  int dim;
  float scale;
  int most;
  const E* next = nullptr;  // the next block's keys, fetched meanwhile
};

// The keys from `key` on, kV vectors of them.
template <int kCount, int kV, bool kFetch = false, typename E>
inline void DotsTile(const DotProducts<E>& dots, int key, float* scores) {
  const float* const* a = dots.a;
  const E* keys = dots.keys + key;
  const int dim = dots.dim;
  const float scale = dots.scale;
  const E* next = dots.next == nullptr ? nullptr : dots.next + key;
  scores += key;
  F16 acc[kCount][kV];
#pragma GCC unroll 4
  for (int t = 0; t < kCount; ++t) {
#pragma GCC unroll 4
    for (int c = 0; c < kV; ++c) acc[t][c] = Set(0.0f);
  }
  for (int d = 0; d < dim; ++d) {
    F16 k[kV];
#pragma GCC unroll 4
    for (int c = 0; c < kV; ++c) k[c] = Load(keys + 64 * d + c * kLanes);
    if (next != nullptr) FetchNext<kV>(next + 64 * d);
    if (kFetch) {
#pragma GCC unroll 4
      for (int c = 0; c < 64; c += kLanes) __builtin_prefetch(keys + 64 * (d + kStepsAhead) + c);
    }
#pragma GCC unroll 4
    for (int t = 0; t < kCount; ++t) {
      const F16 w = Set(a[t][d]);
#pragma GCC unroll 4
      for (int c = 0; c < kV; ++c) acc[t][c] = Fma(w, k[c], acc[t][c]);
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < kCount; ++t) {
#pragma GCC unroll 4
    for (int c = 0; c < kV; ++c) Store(scores + 64 * t + c * kLanes, Mul(acc[t][c], Set(scale)));
  }
}

template <int kCount, typename E>
inline void DotsKeys(const DotProducts<E>& dots, float* scores) {
  const int most = dots.most;
  int key = 0;
#if defined(TEMPER_ISA_avx512)
  if (most > 48) return DotsTile<kCount, 4>(dots, 0, scores);
  for (; key + kLanes < most; key += 2 * kLanes) DotsTile<kCount, 2>(dots, key, scores);
#endif
  if (kFetchStrips && most > kLanes) {
    DotsTile<kCount, 1, kFetchStrips>(dots, 0, scores);
    key = kLanes;
  }
  for (; key < most; key += kLanes) DotsTile<kCount, 1>(dots, key, scores);
}

template <typename E>
inline void Dots(int count, const DotProducts<E>& dots, float* scores) {
  switch (count) {
    case 1:
      return DotsKeys<1>(dots, scores);
    case 2:
      return DotsKeys<2>(dots, scores);
    case 3:
      return DotsKeys<3>(dots, scores);
    case 4:
      return DotsKeys<4>(dots, scores);
  }
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
