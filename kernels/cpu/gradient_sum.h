// SPDX-License-Identifier: Apache-2.0
// The inner loops of kernels/gradient_sum.cc, one copy for each instruction set. Serial.
#pragma once

#include <stdint.h>

namespace temper::kernels {

struct QuantaValues {
  const int64_t* data;
  int64_t n;
};

struct LeafSum;
struct QuantaScale;

// Each returns whether all values that it counted were in range.
#define TEMPER_GRADIENT_SUM(ISA)                                                      \
  namespace ISA {                                                                     \
  bool AddLeafPiece(const QuantaScale& scale, const LeafSum& sum, const float* leaf); \
  bool AddQuantaPiece(const QuantaScale& scale, const LeafSum& sum, int64_t* out);    \
  bool RoundPiece(const QuantaScale& scale, const LeafSum& sum);                      \
  void FromQuantaPiece(double quantum, const QuantaValues& quanta, float* out);       \
  }
TEMPER_GRADIENT_SUM(plain)
TEMPER_GRADIENT_SUM(avx2)
TEMPER_GRADIENT_SUM(avx512)
#undef TEMPER_GRADIENT_SUM

}  // namespace temper::kernels
