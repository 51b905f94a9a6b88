// SPDX-License-Identifier: Apache-2.0
// The launches of the optimizer's step (kernels/adamw.h) and of figures over a tensor; all pointers are of
// the device's memory. None has run on a device yet; the shares are those that the forms should reach on an
// H100 (kernels/cuda/row_ops.h).
#pragma once

#include "kernels/adamw.h"
#include "kernels/cuda/stream.h"

namespace temper::kernels {

// n numbers; `words`: [1] becomes the bits of the largest size, where that is more than is there.
struct LargestTask {
  const float* x = nullptr;
  int64_t n = 0;
  uint32_t* words = nullptr;
};

// sums[0] becomes Backend::SumOfSquares; behind it there is place for as many sums as there are pieces.
struct SquaresTask {
  const float* x = nullptr;
  int64_t n = 0;
  double* sums = nullptr;
};
inline int64_t PiecesOfSquares(int64_t n) { return (n + kSquaresPiece - 1) / kSquaresPiece; }

#define TEMPER_DEVICE_ADAMW(DEVICE)                                                                        \
  namespace DEVICE {                                                                                       \
  /* `words`, which begin as 0: [0] becomes 1 where a new weight or moment is not finite, [1] the bits of  \
     the largest new weight's size. 28 bytes and some 40 instructions an element (two divisions and a root \
     are 30 of them): memory, 85%. */                                                                      \
  void AdamW(const AdamWTask& task, uint32_t* words, Stream& stream);                                      \
  /* 4 bytes an element: memory, 90%. */                                                                   \
  void Largest(const LargestTask& task, Stream& stream);                                                   \
  /* 4 bytes an element and 2 FLOPs of f64. A warp has a piece's chain of 65,536 steps of 8 clocks, 300 us \
     however many there are: 4,224 at once (277 M elements) keep the memory 80% busy, 1.2 G elements take  \
     1.7 ms. */                                                                                            \
  void SumOfSquares(const SquaresTask& task, Stream& stream);                                              \
  }
TEMPER_DEVICE_ADAMW(sim)
TEMPER_DEVICE_ADAMW(sm90)
#undef TEMPER_DEVICE_ADAMW

}  // namespace temper::kernels
