// SPDX-License-Identifier: Apache-2.0
// The loops of kernels/convert.h, one copy for each instruction set.
#pragma once

#include <stdint.h>

namespace temper::kernels {

struct Fp8Run;

#define TEMPER_CONVERT(ISA)                                          \
  namespace ISA {                                                    \
  void BfloatToFloat(int64_t n, const uint16_t* in, float* out);     \
  void HalfToFloat(int64_t n, const uint16_t* in, float* out);       \
  void Fp8ToFloat(const Fp8Run& run, const uint8_t* in, float* out); \
  void FloatToBfloat(int64_t n, const float* in, uint16_t* out);     \
  void FloatToFp8(const Fp8Run& run, const float* in, uint8_t* out); \
  uint32_t LargestSize(int64_t n, const float* in);                  \
  }
TEMPER_CONVERT(plain)
TEMPER_CONVERT(avx2)
TEMPER_CONVERT(avx512)
#undef TEMPER_CONVERT

}  // namespace temper::kernels
