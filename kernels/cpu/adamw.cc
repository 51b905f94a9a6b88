// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/adamw.h"

#include "kernels/adamw.h"
#include "kernels/cpu/simd.h"

namespace temper::kernels {
namespace TEMPER_ISA {

AdamWOutcome AdamWPiece(const AdamWFactors& f, const AdamWTask& piece) {
  const int64_t n = piece.n;
  const float* const gradient = piece.gradient;
  float *const weight = piece.weight, *const m = piece.m, *const v = piece.v;
  // 0 times what is not finite is NaN, and stays one. A moment m that is not finite makes such a weight.
  F16 finite = Set(0.0f), highest = Set(0.0f), lowest = Set(0.0f);
  for (int64_t i = 0; i < n; i += kLanes) {
    const int lanes = n - i < kLanes ? static_cast<int>(n - i) : kLanes;
    const bool whole = lanes == kLanes;
    const auto read = [&](const float* p) { return whole ? Load(p + i) : LoadFirst(p + i, lanes); };
    const auto write = [&](float* p, F16 a) {
      if (whole) {
        Store(p + i, a);
      } else {
        StoreFirst(p + i, a, lanes);
      }
    };
    const F16 g = Mul(read(gradient), Set(f.gradient_scale));
    const F16 w0 = read(weight), decayed = Fma(w0, Set(f.decay), w0);
    const F16 m0 = read(m);
    const F16 m1 = Fma(Set(f.m_rate), Sub(g, m0), m0);
    const F16 v1 = Fma(Mul(Set(f.v_rate), g), g, Mul(Set(f.v_keep), read(v)));
    const F16 root = Add(Div(Sqrt(v1), Set(f.root_correction)), Set(f.epsilon));
    const F16 w1 = Sub(decayed, Div(Mul(Set(f.step), m1), root));
    write(m, m1);
    write(v, v1);
    write(weight, w1);
    const F16 w = whole ? w1 : LoadFirst(weight + i, lanes);
    finite = Fma(w, Set(0.0f), Fma(v1, Set(0.0f), finite));
    highest = Max(w, highest);  // in this order a NaN is left out
    lowest = Max(Neg(w), lowest);
  }
  return {SumLanes(finite) == 0, MaxLanes(Max(highest, lowest))};
}

// Chains side by side: one alone would wait for its own last sum. A square of an f32 is exact in f64, so a
// fused multiply-add would give the same bits.
void SquaresOfPieces(const Squares& squares, double* sums) {
  const float* const x = squares.x;
  if (squares.pieces == kMostPieces) {
    double chains[kMostPieces] = {};
    for (int64_t i = 0; i < squares.n; ++i) {
#pragma GCC unroll 8
      for (int64_t p = 0; p < kMostPieces; ++p) {
        const double a = x[p * kSquaresPiece + i];
        chains[p] += a * a;
      }
    }
    for (int64_t p = 0; p < kMostPieces; ++p) sums[p] = chains[p];
    return;
  }
  for (int64_t p = 0; p < squares.pieces; ++p) {
    double chain = 0;
    for (int64_t i = 0; i < squares.n; ++i) {
      const double a = x[p * kSquaresPiece + i];
      chain += a * a;
    }
    sums[p] = chain;
  }
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
