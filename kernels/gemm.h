// SPDX-License-Identifier: Apache-2.0
// The matrix products in their fixed orders (docs/exactness.md). An output element depends on its own row of
// `a`, its own column of `b` and k_chunks alone: not on m, on threads, on packing, or on the instruction set.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "core/thread_pool.h"

namespace temper::kernels {

// Chunks of an axis that a layout of ranks may split.
inline constexpr int kChunks = 8;

// A weight as the product reads it: panels of as many columns as the instruction set's register tile has,
// each [k][columns], the last one filled up with zeros. Holds no reference to the weight; the memory is its
// maker's.
struct PackedMatrix {
  const float* panels = nullptr;
  int columns = 0;
  int64_t n = 0;
  int64_t k = 0;
};

// Floats that a weight's panels take with the active instruction set.
int64_t PackedFloats(int64_t n, int64_t k);

// b transposed: b is [n, k] row-major with row stride ldb, as a Linear's weight is stored; else b is [k, n].
// Written to `panels`, PackedFloats(n, k) of them, best from a cache line's start on.
PackedMatrix Pack(const float* b, int64_t ldb, bool transposed, int64_t n, int64_t k, float* panels,
                  ThreadPool& pool);

// c[m, n] = a[m, k] b (+ bias[n]) (+ add[m, n]), row-major with row strides; all pointers f32, no alignment
// needed. Order: axis k in k_chunks chunks [floor(cK/C), floor((c+1)K/C)), each one ascending chain of fma
// from 0, combined as a binary tree over chunks; then bias is added, then `add`. `add` may be c itself; c
// must not overlap a or b.
struct Product {
  const float* a = nullptr;
  int64_t lda = 0;
  const float* b = nullptr;  // [n, k] if b_transposed, else [k, n]; not read where `packed` is given
  int64_t ldb = 0;
  bool b_transposed = true;
  const PackedMatrix* packed = nullptr;
  float* c = nullptr;
  int64_t ldc = 0;
  int64_t m = 0, n = 0, k = 0;
  int k_chunks = 1;  // 1 or kChunks
  const float* bias = nullptr;
  const float* add = nullptr;
  int64_t ldadd = 0;
};

// Runs independent products (heads, experts, or just one) as one parallel region. Unpacked operands are
// packed panel by panel on the fly.
void Products(absl::Span<const Product> products, ThreadPool& pool);

// dw[n, k] continues its chain over the rows of dy[m, n] and x[m, k]: for i ascending, dw[j][l] =
// fma(dy[i][j], x[i][l], dw[j][l]). Splitting the rows over several calls gives the same bits.
struct WeightGradient {
  const float* dy = nullptr;
  int64_t lddy = 0;
  const float* x = nullptr;
  int64_t ldx = 0;
  float* dw = nullptr;
  int64_t lddw = 0;
  int64_t m = 0, n = 0, k = 0;
};
void WeightGradients(absl::Span<const WeightGradient> gradients, ThreadPool& pool);

// dbias[n] continues its chain: for i ascending, dbias[j] = dbias[j] + dy[i][j].
void BiasGradient(const float* dy, int64_t lddy, int64_t m, int64_t n, float* dbias, ThreadPool& pool);

}  // namespace temper::kernels
