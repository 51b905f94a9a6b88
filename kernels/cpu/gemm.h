// SPDX-License-Identifier: Apache-2.0
// The inner loops of kernels/gemm.cc, one copy for each instruction set. Serial.
#pragma once

#include <stdint.h>

namespace temper::kernels {

// Rows of c that one register tile holds.
constexpr int kTileRows = 12;
// Up to so many rows an unpacked operand is read once and not packed; the second where b is [k, n] and its
// rows lie far apart.
constexpr int kDirectRows = 4;
constexpr int kDirectRowsAlong = 8;
inline int DirectRows(bool b_transposed, int64_t ldb) {
  return b_transposed || ldb < 2048 ? kDirectRows : kDirectRowsAlong;
}
// Columns that such a piece has, at most.
constexpr int kWide = 1024;

// Panels of b [k, n] that are packed together: its rows lie in pages of their own, and a panel's share of one
// is short.
constexpr int kPanelsTogether = 4;

// Floats of scratch memory that ComputePanel wants where the panel is not packed.
inline int64_t PanelScratch(int64_t k) {
  constexpr int64_t kAccumulators = int64_t{4} * kDirectRowsAlong * kWide;  // and what is pending
  const int64_t panels = k * 32 * kPanelsTogether;
  return panels > kAccumulators ? panels : kAccumulators;
}

// c[rows, cols] of at most 32 columns; if unpacked and of more than kTileRows rows of kPanelsTogether panels,
// and of kWide columns where rows <= DirectRows(). See Product for the order.
struct PanelTask {
  const float* a;  // rows with stride lda; or, if lda is 0, tiles [k][kTileRows] of PackTile
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
  const float* next;  // the panel that the next task reads, fetched meanwhile; or null
};

// dw[n, k] goes on over m rows. As they are in memory, or packed: dy by PackColumns, x by PackPanel.
struct GradientTask {
  const float* dy;
  int64_t dy_step;  // from row to row
  int64_t dy_tile;  // from kTileRows columns to the next
  const float* x;
  int64_t x_step;
  int64_t x_panel;
  bool packed;
  float* dw;
  int64_t lddw;
  int64_t m;
  int64_t n;
  int64_t k;
};

// Up to so many rows ComputeGradient goes along the rows of dw.
constexpr int kFewRows = 2;
// Rows that ComputeGradient takes at a time, as stays in the second cache.
constexpr int64_t kGradientRows = 1024;

#define TEMPER_GEMM_FUNCTIONS(ISA)                                                                       \
  namespace ISA {                                                                                        \
  /* Panels [k][32], one after another, from `cols` columns; the rest is 0. */                           \
  void PackPanel(const float* b, int64_t ldb, bool transposed, int cols, int64_t k, float* out);         \
  /* out[k][kTileRows] from `rows` <= kTileRows rows, and not a float beyond. */                         \
  void PackTile(const float* a, int64_t lda, int rows, int64_t k, float* out);                           \
  /* out[m][kTileRows] from `cols` <= kTileRows columns. */                                              \
  void PackColumns(const float* dy, int64_t lddy, int cols, int64_t m, float* out);                      \
  void ComputePanel(const PanelTask& task, float* scratch); /* PanelScratch() floats if panel is null */ \
  void ComputeGradient(const GradientTask& task, float* scratch); /* kGradientRows * 32 floats */        \
  void SumColumns(const float* dy, int64_t lddy, int64_t m, int cols, float* out);                       \
  }
TEMPER_GEMM_FUNCTIONS(plain)
TEMPER_GEMM_FUNCTIONS(avx2)
TEMPER_GEMM_FUNCTIONS(avx512)
#undef TEMPER_GEMM_FUNCTIONS

}  // namespace temper::kernels
