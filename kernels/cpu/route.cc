// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/route.h"

#include "kernels/cpu/simd.h"
#include "kernels/route.h"

namespace temper::kernels {
namespace TEMPER_ISA {
namespace {

inline int Lanes(int64_t left) { return left < kLanes ? static_cast<int>(left) : kLanes; }

}  // namespace

void Scores(const RouteShape& shape, const float* logits, float* scores) {
  const int experts = shape.experts;
  if (shape.sigmoid) {
    for (int c = 0; c < experts; c += kLanes) {
      const int lanes = Lanes(experts - c);
      StoreFirst(scores + c, Sigmoid(LoadFirst(logits + c, lanes)), lanes);
    }
    return;
  }
  F16 top = Set(-__builtin_inff());
  for (int c = 0; c < experts; c += kLanes) {
    const int lanes = Lanes(experts - c);
    top = Max(top, Select(FirstLanes(lanes), LoadFirst(logits + c, lanes), top));
  }
  const F16 max = Set(MaxLanes(top));
  F16 sum = Set(0.0f);
  for (int c = 0; c < experts; c += kLanes) {
    const int lanes = Lanes(experts - c);
    const F16 e = Select(FirstLanes(lanes), Exp(Sub(LoadFirst(logits + c, lanes), max)), Set(0.0f));
    StoreFirst(scores + c, e, lanes);
    sum = Add(sum, e);
  }
  const F16 total = Set(SumLanes(sum));
  for (int c = 0; c < experts; c += kLanes) {
    const int lanes = Lanes(experts - c);
    StoreFirst(scores + c, Div(LoadFirst(scores + c, lanes), total), lanes);
  }
}

namespace {

// The tree over ranges [kFirst, kFirst + kCount), walked so that few sums are pending at a time.
template <int kFirst, int kCount>
inline F16 SumOfRanges(const CombineRow& row, int64_t c, int lanes) {
  if constexpr (kCount > 1) {
    const F16 left = SumOfRanges<kFirst, kCount / 2>(row, c, lanes);
    return Add(left, SumOfRanges<kFirst + kCount / 2, kCount / 2>(row, c, lanes));
  } else {
    F16 sum = Set(0.0f);
    for (int i = row.range[kFirst]; i < row.range[kFirst + 1]; ++i) {
      const F16 weight = Set(row.weights != nullptr ? row.weights[i] : 1.0f);
      sum = Fma(weight, LoadFirst(row.y[i] + c, lanes), sum);
    }
    return sum;
  }
}

template <int kRanges>
inline void CombineRanges(const CombineRow& row) {
  const float *const shared = row.shared, *const residual = row.residual;
  for (int64_t c = 0; c < row.cols; c += kLanes) {
    const int lanes = Lanes(row.cols - c);
    F16 total = SumOfRanges<0, kRanges>(row, c, lanes);
    if (shared != nullptr) total = Add(total, LoadFirst(shared + c, lanes));
    if (residual != nullptr) total = Add(total, LoadFirst(residual + c, lanes));
    StoreFirst(row.out + c, total, lanes);
  }
}

}  // namespace

void Combine(const CombineRow& row) {
  switch (row.ranges) {
    case 1:
      return CombineRanges<1>(row);
    case 2:
      return CombineRanges<2>(row);
    case 4:
      return CombineRanges<4>(row);
    default:
      return CombineRanges<8>(row);
  }
}

float CombineBackward(const CombineBackwardRow& row) {
  F16 dot = Set(0.0f);
  for (int64_t c = 0; c < row.cols; c += kLanes) {
    const int lanes = Lanes(row.cols - c);
    const F16 d = LoadFirst(row.dout + c, lanes);
    dot = Fma(d, LoadFirst(row.y + c, lanes), dot);
    StoreFirst(row.dy + c, Mul(Set(row.weight), d), lanes);
  }
  return SumLanes(dot);
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
