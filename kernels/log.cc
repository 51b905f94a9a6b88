// SPDX-License-Identifier: Apache-2.0
#include "kernels/log.h"

#include <bit>
#include <cstdint>
#include <limits>

namespace temper::kernels {

// x = m 2^e with m in [sqrt(1/2), sqrt(2)); ln m = 2 atanh(s), s = (m - 1) / (m + 1), by its series.
double Log(double x) {
  if (!(x > 0))
    return x == 0 ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  if (x > std::numeric_limits<double>::max()) return x;
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  int64_t exponent = static_cast<int64_t>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xFFFFFFFFFFFFFull) | 0x3FF0000000000000ull);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  const double s = (m - 1.0) / (m + 1.0);
  const double s2 = s * s;
  double series = 1.0 / 21.0;
  for (int k = 19; k >= 3; k -= 2) series = series * s2 + 1.0 / k;
  const double ln_m = 2.0 * s + 2.0 * s * (s2 * series);
  // ln 2 in two parts: the product with the first is exact.
  constexpr double kHigh = 6.93147180369123816490e-01, kLow = 1.90821492927058770002e-10;
  const double e = static_cast<double>(exponent);
  return e * kHigh + (ln_m + e * kLow);
}

}  // namespace temper::kernels
