// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/peak.h"

#include "kernels/cpu/simd.h"

namespace temper::kernels {
namespace TEMPER_ISA {

// As many chains at once as stay in registers; with AVX2 a vector of 16 takes two.
float BurnFma(int64_t steps) {
#if defined(TEMPER_ISA_avx512)
  constexpr int kAtOnce = 16;
#else
  constexpr int kAtOnce = 4;
#endif
  const F16 a = Set(0.999f), b = Set(0.001f);
  float sum = 0;
  for (int pass = 0; pass < 16 / kAtOnce; ++pass) {
    F16 acc[kAtOnce];
    for (int i = 0; i < kAtOnce; ++i) acc[i] = Set(static_cast<float>(i));
    for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 16
      for (int i = 0; i < kAtOnce; ++i) acc[i] = Fma(acc[i], a, b);
    }
    for (int i = 0; i < kAtOnce; ++i) sum += SumLanes(acc[i]);
  }
  return sum;
}

float SumFloats(const float* data, int64_t floats) {
  constexpr int kAtOnce = 8;
  F16 acc[kAtOnce];
  for (int i = 0; i < kAtOnce; ++i) acc[i] = Set(0.0f);
  for (int64_t at = 0; at < floats; at += kAtOnce * kLanes) {
#pragma GCC unroll 8
    for (int i = 0; i < kAtOnce; ++i) acc[i] = Add(acc[i], Load(data + at + i * kLanes));
  }
  float sum = 0;
  for (int i = 0; i < kAtOnce; ++i) sum += SumLanes(acc[i]);
  return sum;
}

}  // namespace TEMPER_ISA
}  // namespace temper::kernels
