// SPDX-License-Identifier: Apache-2.0
// The matrix products in their fixed orders (docs/exactness.md). An output element depends on its own row of
// `a`, its own column of `b` and k_chunks alone: not on m, on threads, on packing, or on the instruction set.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/matrix.h"

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

// A part of an axis that is summed in chunks: its first step, and the steps of the whole axis, of which chunk
// c is [floor(c whole / 8), floor((c + 1) whole / 8)). A whole of 0: the part is all of it.
struct AxisPart {
  int64_t begin = 0, whole = 0;
};

// Two factors of a product: b is [k, n].
struct FactorPair {
  Matrix a = {}, b = {};
  AxisPart part = {};
};
inline constexpr int kMoreFactors = 2;

// c[m, n] = a[m, k] b (+ bias[n]) (+ add[m, n]); no alignment needed. b may be bf16, whose numbers count as
// the f32s that they are: the bits are those of an f32 b of the same values. Order: axis k in k_chunks
// chunks, each one ascending chain of fma from 0, combined as a binary tree over chunks; then bias is added,
// then `add`. `add` may be c itself; c must not overlap a or b. Of a part of a chunked axis, c is the sum
// over a subtree: both ends of the part are edges of the same 1, 2, 4 or 8 neighbouring chunks that the tree
// adds up by themselves. The tree over the parts gives the whole. With `more`, c is the sum of several
// products whose b is not transposed and not packed: in each chunk the chain goes on over each one's own
// steps of that chunk, in this order.
struct Product {
  Matrix a = {};
  Matrix b = {};             // not read where packed
  bool b_transposed = true;  // b is [n, k], as a Linear's weight is stored; else [k, n]
  const PackedMatrix* packed = nullptr;
  Matrix c = {};
  int k_chunks = 1;  // 1 or kChunks
  AxisPart part = {};
  std::array<FactorPair, 2> more = {};  // those with an a
  const float* bias = nullptr;
  Matrix add = {};

  int64_t m() const { return c.rows; }
  int64_t n() const { return c.cols; }
  int64_t k() const { return a.cols + more[0].a.cols + more[1].a.cols; }
};

// dw[n, k] continues its chain over the rows of dy[m, n] and x[m, k]: for i ascending, dw[j][l] =
// fma(dy[i][j], x[i][l], dw[j][l]). Splitting the rows over several calls gives the same bits.
struct WeightGradient {
  Matrix dy = {}, x = {}, dw = {};

  int64_t m() const { return dy.rows; }
  int64_t n() const { return dy.cols; }
  int64_t k() const { return x.cols; }
};

}  // namespace temper::kernels
