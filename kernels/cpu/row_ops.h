// SPDX-License-Identifier: Apache-2.0
// The inner loops of kernels/row_ops.cc, one copy for each instruction set. Serial.
#pragma once

#include <stdint.h>

namespace temper::kernels {

// Columns of dweight that one piece of the norm's backward takes.
constexpr int kNormColumns = 64;

#define TEMPER_ROW_OPS(ISA)                                                                                 \
  namespace ISA {                                                                                           \
  /* Returns 1 / sqrt(mean(x^2) + eps). */                                                                  \
  float NormRow(const float* x, const float* weight, float eps, int64_t cols, float* y);                    \
  void NormBackwardRow(const float* dy, const float* x, const float* weight, float rstd, int64_t cols,      \
                       const float* add, float* dx);                                                        \
  /* At most kNormColumns columns. */                                                                       \
  void NormWeightColumns(const float* dy, int64_t lddy, const float* x, int64_t ldx, const float* rstd,     \
                         int64_t rows, int cols, float* dweight);                                           \
  /* One head; the sines are multiplied by `sign`. */                                                       \
  void RotateHalves(float* x, int half, const float* cosines, const float* sines, float sign);              \
  void RotatePairs(float* x, int half, const float* cosines, const float* sines, float sign);               \
  void SwiGluRow(const float* gate, const float* up, int64_t cols, float* out);                             \
  void SwiGluBackwardRow(const float* dout, const float* gate, const float* up, int64_t cols, float* dgate, \
                         float* dup);                                                                       \
  void AddRow(const float* a, const float* b, int64_t n, float* c);                                         \
  }
TEMPER_ROW_OPS(plain)
TEMPER_ROW_OPS(avx2)
TEMPER_ROW_OPS(avx512)
#undef TEMPER_ROW_OPS

}  // namespace temper::kernels
