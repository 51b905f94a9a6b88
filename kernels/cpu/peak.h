// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdint.h>

namespace temper::kernels {

// Floating-point operations of one step of BurnFma: 16 independent vectors of 16.
constexpr int64_t kBurnFlops = 16 * 16 * 2;

#define TEMPER_PEAK(ISA)                                                              \
  namespace ISA {                                                                     \
  float BurnFma(int64_t steps);                                                       \
  float SumFloats(const float* data, int64_t floats); /* a multiple of 128 of them */ \
  }
TEMPER_PEAK(plain)
TEMPER_PEAK(avx2)
TEMPER_PEAK(avx512)
#undef TEMPER_PEAK

}  // namespace temper::kernels
