// SPDX-License-Identifier: Apache-2.0
// The inner loops of kernels/gemm.cc, one copy for each instruction set. Serial.
#pragma once

#include <stdint.h>

namespace temper::kernels {

// The register tile of an instruction set: rows by columns of c whose accumulators stay in registers. 32
// registers of 16 floats hold 12 x 32, 16 registers of 8 floats 6 x 16. The columns are a packed panel's.
struct TileShape {
  int rows, columns;
};
// Up to so many rows an unpacked operand is read once and not packed: where b is [n, k], and where it is [k,
// n], more if its rows lie far apart.
constexpr int kDirectRows = 8;
constexpr int kDirectRowsAlong = 8;
constexpr int kDirectRowsNear = 4;
inline int DirectRows(bool b_transposed, int64_t ldb) {
  return b_transposed ? kDirectRows : ldb < 2048 ? kDirectRowsNear : kDirectRowsAlong;
}
// Columns that such a piece has, at most.
constexpr int kWide = 1024;
// Up to so many rows an unpacked panel is packed little by little, each part for all the rows at once.
constexpr int kPackRows = 12;
// One row or two do not fill the multipliers' pipes with one packed panel: they take several at once.
inline int PanelsAtOnce(int64_t rows) { return rows == 1 ? 4 : rows == 2 ? 2 : 1; }

// Columns of b [k, n] that are packed together: its rows lie in pages of their own, and a panel's share of
// one is short.
constexpr int kColumnsTogether = 128;

// Floats of scratch memory that ComputePanel wants where the panel is not packed.
inline int64_t PanelScratch(int64_t k) {
  constexpr int64_t kAccumulators = int64_t{4} * kDirectRowsAlong * kWide;  // and what is pending
  const int64_t panels = k * kColumnsTogether;
  return panels > kAccumulators ? panels : kAccumulators;
}

// A product's factors as a task reads them.
struct PanelFactors {
  const float* a;  // rows with stride lda; or, if lda is 0, tiles of PackTile, [k][kTileRows] of all factors
  int64_t lda;
  const void* b;  // the panel's first row (transposed) or column of the unpacked operand
  int64_t ldb;
  int64_t k;
  int64_t first;         // step of theirs in panels
  int64_t begin, whole;  // of their part of the axis, see AxisPart
};

// c[rows, cols] of at most PanelsAtOnce() x kPanel columns; if unpacked and of more than kPackRows rows of
// kColumnsTogether, and of kWide columns where rows <= DirectRows(). See Product for the order.
struct PanelTask {
  PanelFactors factors[3];
  int factor_count;
  bool b_transposed;
  bool b_bf16;              // the unpacked operand's numbers: Bf16, else f32
  const float* panel;       // [k][kPanel]; or null: the columns are packed on the fly from b
  int64_t k;                // of all factors
  int first_chunk, chunks;  // of which the sum is
  int chunk_shift;          // log2 of the chunks of the whole axis
  float* c;
  int64_t ldc;
  int64_t rows;
  int cols;
  const float* bias;
  const float* add;
  int64_t ldadd;
  const void* next;  // what the next task reads, a panel or as many of the unpacked rows, fetched meanwhile;
                     // or null

  [[gnu::always_inline]] int64_t b_bytes() const { return b_bf16 ? 2 : 4; }  // of a number of the operand
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

// `count` rows or columns of a matrix, `length` numbers of each.
struct Strip {
  const void* data;
  int64_t ld;
  int count;
  int64_t length;
  int64_t apart = 0;  // floats from one panel that they go to to the next
  bool bf16 = false;  // PackPanel alone takes such numbers, and makes f32 of them
};

#define TEMPER_GEMM_FUNCTIONS(ISA, ROWS, COLUMNS)                                                        \
  namespace ISA {                                                                                        \
  constexpr int kTileRows = ROWS, kPanel = COLUMNS;                                                      \
  inline constexpr TileShape kTile = {kTileRows, kPanel};                                                \
  /* Panels [k][kPanel] from columns of b [k, n], transposed: rows of b [n, k]; the rest is 0. */        \
  void PackPanel(const Strip& b, bool transposed, float* out);                                           \
  /* out[k][kTileRows] from at most kTileRows rows, and not a float beyond. */                           \
  void PackTile(const Strip& rows, float* out);                                                          \
  /* out[m][kTileRows] from at most kTileRows columns. */                                                \
  void PackColumns(const Strip& columns, float* out);                                                    \
  void ComputePanel(const PanelTask& task, float* scratch); /* PanelScratch() floats if panel is null */ \
  /* Of that, at most kPackRows rows of an unpacked operand. */                                          \
  void ComputeFewRows(const PanelTask& task, float* scratch);                                            \
  void ComputeGradient(const GradientTask& task, float* scratch); /* kGradientRows * kPanel floats */    \
  /* Goes on with the sums of at most kLanes columns. */                                                 \
  void SumColumns(const Strip& columns, float* out);                                                     \
  }
TEMPER_GEMM_FUNCTIONS(plain, 6, 16)
TEMPER_GEMM_FUNCTIONS(avx2, 6, 16)
TEMPER_GEMM_FUNCTIONS(avx512, 12, 32)
#undef TEMPER_GEMM_FUNCTIONS

}  // namespace temper::kernels
