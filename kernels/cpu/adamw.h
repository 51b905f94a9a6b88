// SPDX-License-Identifier: Apache-2.0
// The inner loops of kernels/adamw.cc, one copy for each instruction set. Serial.
#pragma once

#include <stdint.h>

namespace temper::kernels {

// n numbers of each of some pieces, at most kMostPieces, which lie kSquaresPiece apart.
constexpr int64_t kMostPieces = 8;
struct Squares {
  const float* x;
  int64_t n, pieces;
};

struct AdamWFactors;
struct AdamWTask;
struct AdamWOutcome;

#define TEMPER_ADAMW(ISA)                                                       \
  namespace ISA {                                                               \
  AdamWOutcome AdamWPiece(const AdamWFactors& factors, const AdamWTask& piece); \
  void SquaresOfPieces(const Squares& squares, double* sums);                   \
  }
TEMPER_ADAMW(plain)
TEMPER_ADAMW(avx2)
TEMPER_ADAMW(avx512)
#undef TEMPER_ADAMW

}  // namespace temper::kernels
