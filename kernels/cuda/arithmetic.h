// SPDX-License-Identifier: Apache-2.0
// What kernels/cpu/simd.h has for 16 lanes, for one number of a thread and for 16 lanes of a warp: the same
// bits. Exp and Log are our own: the device's are approximations that nobody else can repeat.
#pragma once

#include "kernels/cpu/exponential.h"
#include "kernels/cuda/device.h"

namespace temper::kernels {
namespace TEMPER_DEVICE {

constexpr int kLanes = 16;  // that sums over a row are strided by

WORD Float Exp(Float x) { return ExpOf(x); }
WORD Float Sigmoid(Float x) { return SigmoidOf(x); }
WORD Double Log(Double x) { return LogOf(x); }

// The bits of the nearest bf16, ties to even; a NaN stays one.
WORD uint32_t NearestHalf(Float x) {
  const uint32_t bits = BitsOf(x);
  return (bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// Of the 16 lanes of each half of a warp: all get SumLanes of them.
WORD Float SumLanes(Float x) {
  for (int half = 8; half >= 1; half /= 2) x = Add(x, ShuffleXor(x, half));
  return x;
}
// All lanes of the warp get MaxLanes of its first 16.
WORD Float MaxLanes(Float x) {
  for (int half = 8; half >= 1; half /= 2) x = Max(x, ShuffleXor(x, half));
  return ShuffleFrom(x, 0);
}

}  // namespace TEMPER_DEVICE
}  // namespace temper::kernels
