// SPDX-License-Identifier: Apache-2.0
// The inner loops of kernels/gemm.cc, one copy for each instruction set. Serial.
#pragma once

#include <stdint.h>

namespace temper::kernels {

// Rows of c that one register tile holds.
constexpr int kTileRows = 12;

// c[rows, cols] of one panel of at most 32 columns; see Product for the order.
struct PanelTask {
  const float* a;
  int64_t lda;
  const float* panel;  // [k][32]; or null: the columns are packed on the fly from b
  const float* b;      // the panel's first row (transposed) or column of the unpacked operand
  int64_t ldb;
  bool b_transposed;
  float* c;
  int64_t ldc;
  int64_t rows;
  int cols;
  int64_t k;
  int k_chunks;
  const float* bias;
  const float* add;
  int64_t ldadd;
};

// dw[rows_n, cols] += over m rows, at most 32 columns of x.
struct GradientTask {
  const float* dy;
  int64_t lddy;
  const float* x;
  int64_t ldx;
  float* dw;
  int64_t lddw;
  int64_t m;
  int64_t n;
  int cols;
};

#define TEMPER_GEMM_FUNCTIONS(ISA)                                                                        \
  namespace ISA {                                                                                         \
  /* out[k][32] from a panel of `cols` columns; the rest is 0. */                                         \
  void PackPanel(const float* b, int64_t ldb, bool transposed, int cols, int64_t k, float* out);          \
  void ComputePanel(const PanelTask& task, float* scratch); /* scratch: k * 32 floats if panel is null */ \
  void ComputeGradient(const GradientTask& task);                                                         \
  void SumColumns(const float* dy, int64_t lddy, int64_t m, int cols, float* out);                        \
  }
TEMPER_GEMM_FUNCTIONS(plain)
TEMPER_GEMM_FUNCTIONS(avx2)
TEMPER_GEMM_FUNCTIONS(avx512)
#undef TEMPER_GEMM_FUNCTIONS

}  // namespace temper::kernels
