// SPDX-License-Identifier: Apache-2.0
// The serial inner loops of kernels/route.h, once for each instruction set.
#pragma once

#include <stdint.h>

namespace temper::kernels {

struct RouteShape;

// Entries of one row, by expert id ascending: range c of the `ranges` holds [range[c], range[c + 1]).
struct CombineRow {
  int ranges;             // 1, 2, 4 or 8
  const float* const* y;  // [entries][cols]
  const float* weights;   // [entries]; null: all 1
  int range[9];
  int64_t cols;
  const float *shared, *residual;  // may be null
  float* out;
};

struct CombineBackwardRow {
  const float *dout, *y;
  float weight;
  int64_t cols;
  float* dy;
};

#define TEMPER_ROUTE(ISA)                                                   \
  namespace ISA {                                                           \
  void Scores(const RouteShape& shape, const float* logits, float* scores); \
  void Combine(const CombineRow& row);                                      \
  float CombineBackward(const CombineBackwardRow& row);                     \
  }
TEMPER_ROUTE(plain)
TEMPER_ROUTE(avx2)
TEMPER_ROUTE(avx512)
#undef TEMPER_ROUTE

}  // namespace temper::kernels
