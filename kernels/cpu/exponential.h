// SPDX-License-Identifier: Apache-2.0
// e^x and ln x, told once for every kind of number whose operations have names: 16 lanes of
// kernels/cpu/simd.h, a number of kernels/cuda/device.h, the f64 of kernels/log.cc. So the CPU and a GPU have
// the same bits. Constant(x, value) is a number of x's kind.
#pragma once

#include <stdint.h>

// A part of the function that calls it, which may be compiled for an instruction set or a device of its own.
#if defined(__CUDACC__)
#define TEMPER_INSIDE __device__ __forceinline__
#else
#define TEMPER_INSIDE [[gnu::always_inline]] inline
#endif

namespace temper::kernels {

// e^x of f32, relative error below 2e-7; 0 below about -87.3 (results that would be denormal included), inf
// above 88.7. Range reduction by ln 2 in two parts and the degree-6 polynomial of Cephes expf. 21
// instructions of a GPU, 12 of them of the fma unit's: on 128 of those a clock as many as 10.7 exponentials,
// where the special function unit has 16 approximations.
template <typename F>
TEMPER_INSIDE F ExpOf(F x) {
  const F low = Constant(x, -87.33654f), high = Constant(x, 88.72283f);
  const F c = Min(high, Max(low, x));  // in this order a NaN stays one
  const F n = Round(Mul(c, Constant(x, 1.44269504088896341f)));
  F r = Fma(n, Constant(x, -0.693359375f), c);
  r = Fma(n, Constant(x, 2.12194440e-4f), r);
  F p = Constant(x, 1.9875691500e-4f);
  p = Fma(p, r, Constant(x, 1.3981999507e-3f));
  p = Fma(p, r, Constant(x, 8.3334519073e-3f));
  p = Fma(p, r, Constant(x, 4.1665795894e-2f));
  p = Fma(p, r, Constant(x, 1.6666665459e-1f));
  p = Fma(p, r, Constant(x, 5.0000001201e-1f));
  p = Fma(Mul(r, r), p, Add(r, Constant(x, 1.0f)));
  // n may be 128 at the top: scale in two steps.
  const F half = Round(Mul(n, Constant(x, 0.5f)));
  const F y = Mul(Mul(p, PowerOfTwo(half)), PowerOfTwo(Sub(n, half)));
  return Select(Less(high, x), Constant(x, __builtin_inff()), Select(Less(x, low), Constant(x, 0.0f), y));
}

// 1 / (1 + e^-x).
template <typename F>
TEMPER_INSIDE F SigmoidOf(F x) {
  return Div(Constant(x, 1.0f), Add(Constant(x, 1.0f), ExpOf(Neg(x))));
}

// ln x of f64, for positive normal x, relative error below 1e-15. x = m 2^e with m in [sqrt(1/2), sqrt(2));
// ln m = 2 atanh(s), s = (m - 1) / (m + 1), by its series.
template <typename F>
TEMPER_INSIDE F LogOf(F x) {
  const F zero = Constant(x, 0.0);
  if (!Less(zero, x))
    return Constant(x, Less(x, zero) || BitsOf(x) << 1 != 0 ? __builtin_nan("") : -__builtin_inf());
  if (Less(Constant(x, 0x1.fffffffffffffp1023), x)) return x;
  const int64_t bits = BitsOf(x);
  int64_t exponent = (bits >> 52) - 1023;
  F m = OfBits(x, (bits & 0xFFFFFFFFFFFFFll) | 0x3FF0000000000000ll);
  if (Less(Constant(x, 1.4142135623730951), m)) {
    m = Mul(m, Constant(x, 0.5));
    ++exponent;
  }
  const F one = Constant(x, 1.0);
  const F s = Div(Sub(m, one), Add(m, one)), s2 = Mul(s, s);
  F series = Constant(x, 1.0 / 21.0);
  series = Add(Mul(series, s2), Constant(x, 1.0 / 19.0));
  series = Add(Mul(series, s2), Constant(x, 1.0 / 17.0));
  series = Add(Mul(series, s2), Constant(x, 1.0 / 15.0));
  series = Add(Mul(series, s2), Constant(x, 1.0 / 13.0));
  series = Add(Mul(series, s2), Constant(x, 1.0 / 11.0));
  series = Add(Mul(series, s2), Constant(x, 1.0 / 9.0));
  series = Add(Mul(series, s2), Constant(x, 1.0 / 7.0));
  series = Add(Mul(series, s2), Constant(x, 1.0 / 5.0));
  series = Add(Mul(series, s2), Constant(x, 1.0 / 3.0));
  const F twice = Mul(Constant(x, 2.0), s);
  const F ln_m = Add(twice, Mul(twice, Mul(s2, series)));
  // ln 2 in two parts: the product with the first is exact.
  const F e = OfInteger(x, exponent);
  return Add(Mul(e, Constant(x, 6.93147180369123816490e-01)),
             Add(ln_m, Mul(e, Constant(x, 1.90821492927058770002e-10))));
}

}  // namespace temper::kernels

#undef TEMPER_INSIDE
