// SPDX-License-Identifier: Apache-2.0
// What the product kernels are told: the products of a launch, which blocks are whose, and the walk over the
// steps of a sum. Included only by kernels/cuda/products.cc.
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/gemm.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {

constexpr int kFactors = 1 + kMoreFactors;
constexpr int kProductsTogether = 16;

// A pair of factors of `k` steps, those from `begin` on of an axis of `whole`.
template <typename E>
struct Factors {
  Rows<const float> a;
  Rows<const E> b;
  int k;
  int64_t begin, whole;
};

// c = the sum over `chunks` chunks from `first_chunk` on (+ bias) (+ add). Of one that goes on, the sum
// begins with what is in c.
template <typename E>
struct ProductPiece {
  Factors<E> factors[kFactors];
  int factor_count;
  int first_chunk, chunks;
  bool chunked, goes_on;
  int m, n;
  Rows<float> c;
  Rows<const float> add;
  Global<const float> bias;
  int64_t first_block;
  int columns;  // tiles side by side

  // Where chunk c of this piece begins among the steps of a factor.
  WORD int Edge(int factor, int c) const {
    const Factors<E>& f = factors[factor];
    if (!chunked) return c == 0 ? 0 : f.k;
    return static_cast<int>((first_chunk + c) * f.whole / kChunks - f.begin);
  }
};

template <typename E>
struct ProductArgs {
  int count;
  ProductPiece<E> pieces[kProductsTogether];

  WORD const ProductPiece<E>& PieceOf(int block) const {
    int p = 0;
    while (p + 1 < count && pieces[p + 1].first_block <= block) ++p;
    return pieces[p];
  }
};

// The steps of a sum, chunk by chunk, in a chunk factor by factor, at most kSteps at a time.
template <typename E, int kSteps>
struct StepWalk {
  const ProductPiece<E>& piece;
  int chunk = 0, factor = 0;
  int at = 0, end = 0, count = 0;

  WORD explicit StepWalk(const ProductPiece<E>& of) : piece(of) {
    at = piece.Edge(0, 0);
    end = piece.Edge(0, 1);
  }
  // Goes on to the next steps, [at, at + count); false: there are none.
  WORD bool Next() {
    if (chunk == piece.chunks) return false;
    at += count;
    while (at >= end) {
      if (++factor == piece.factor_count) {
        factor = 0;
        if (++chunk == piece.chunks) {
          count = 0;
          return false;
        }
      }
      at = piece.Edge(factor, chunk);
      end = piece.Edge(factor, chunk + 1);
    }
    count = end - at < kSteps ? end - at : kSteps;
    return true;
  }
};

// The binary tree over chunks, which come ascending: what waits for its neighbour is in local memory.
template <int N>
struct ChunkSums {
  Float waiting[3][N];

  // Joins the sum of chunk c; the last one gets the whole sum.
  WORD void Push(int c, int chunks, Float (&sum)[N]) {
    int level = 0;
    UNROLL(1)
    for (; c >> level & 1; ++level) {
      UNROLL_ALL
      for (int i = 0; i < N; ++i) sum[i] = Add(waiting[level][i], sum[i]);
    }
    if (c + 1 == chunks) return;
    UNROLL_ALL
    for (int i = 0; i < N; ++i) waiting[level][i] = sum[i];
  }
};

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
