// SPDX-License-Identifier: Apache-2.0
// What kernels/cpu/simd.h has for 16 lanes, for one number of a thread and for 16 lanes of a warp: the same
// bits. Exp and Log are our own: the device's are approximations that nobody else can repeat.
#pragma once

#include "kernels/cuda/device.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {

constexpr int kLanes = 16;  // that sums over a row are strided by

// kernels/cpu/simd.h's Exp. 21 instructions, 12 of them of the fma unit's: on 128 of those a clock as many as
// 10.7 exponentials, where the special function unit has 16 approximations.
WORD Float Exp(Float x) {
  const Float low = Set(-87.33654f), high = Set(88.72283f);
  const Float c = Min(high, Max(low, x));  // in this order a NaN stays one
  const Float n = Round(Mul(c, Set(1.44269504088896341f)));
  Float r = Fma(n, Set(-0.693359375f), c);
  r = Fma(n, Set(2.12194440e-4f), r);
  Float p = Set(1.9875691500e-4f);
  p = Fma(p, r, Set(1.3981999507e-3f));
  p = Fma(p, r, Set(8.3334519073e-3f));
  p = Fma(p, r, Set(4.1665795894e-2f));
  p = Fma(p, r, Set(1.6666665459e-1f));
  p = Fma(p, r, Set(5.0000001201e-1f));
  p = Fma(Mul(r, r), p, Add(r, Set(1.0f)));
  const Float half = Round(Mul(n, Set(0.5f)));
  const Float y = Mul(Mul(p, PowerOfTwo(half)), PowerOfTwo(Sub(n, half)));
  return Select(Less(high, x), Set(__builtin_inff()), Select(Less(x, low), Set(0.0f), y));
}

WORD Float Sigmoid(Float x) { return Div(Set(1.0f), Add(Set(1.0f), Exp(Neg(x)))); }

// kernels/log.h's.
WORD Double Log(Double x) {
  if (!Less(SetDouble(0.0), x))
    return SetDouble(Less(x, SetDouble(0.0)) || BitsOf(x) << 1 != 0 ? __builtin_nan("") : -__builtin_inf());
  if (Less(SetDouble(0x1.fffffffffffffp1023), x)) return x;
  const int64_t bits = BitsOf(x);
  int64_t exponent = (bits >> 52) - 1023;
  Double m = DoubleFromBits((bits & 0xFFFFFFFFFFFFFll) | 0x3FF0000000000000ll);
  if (Less(SetDouble(1.4142135623730951), m)) {
    m = Mul(m, SetDouble(0.5));
    ++exponent;
  }
  const Double one = SetDouble(1.0);
  const Double s = Div(Sub(m, one), Add(m, one)), s2 = Mul(s, s);
  Double series = SetDouble(1.0 / 21.0);
  UNROLL_ALL
  for (int k = 19; k >= 3; k -= 2) series = Add(Mul(series, s2), SetDouble(1.0 / k));
  const Double twice = Mul(SetDouble(2.0), s);
  const Double ln_m = Add(twice, Mul(twice, Mul(s2, series)));
  const Double e = DoubleOfInteger(exponent);
  return Add(Mul(e, SetDouble(6.93147180369123816490e-01)),
             Add(ln_m, Mul(e, SetDouble(1.90821492927058770002e-10))));
}

// The bits of the nearest bf16, ties to even; a NaN stays one.
WORD uint32_t NearestHalf(Float x) {
  const uint32_t bits = BitsOf(x);
  return (bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// Of the 16 lanes of each half of a warp: all get SumLanes of them.
WORD Float SumLanes(Float x) {
  for (int half = 8; half >= 1; half /= 2) x = Add(x, ShuffleXor(x, half));
  return x;
}
// All lanes of the warp get MaxLanes of its first 16.
WORD Float MaxLanes(Float x) {
  for (int half = 8; half >= 1; half /= 2) x = Max(x, ShuffleXor(x, half));
  return ShuffleFrom(x, 0);
}

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
