// SPDX-License-Identifier: Apache-2.0
// The launches of kernels/gradient_sum.h: Backend's AddLeaf, AddQuanta and RoundGradient. All pointers are of
// the device's memory; words[0], which begins as 0, becomes 1 where a value is out of range. None has run on
// a device yet (kernels/cuda/row_ops.h).
#pragma once

#include "kernels/cuda/stream.h"
#include "kernels/gradient_sum.h"

namespace temper::kernels {

// The leaf of sum.n floats is added to a sum that is not empty. Where that is of one leaf so far, this leaf's
// memory becomes its `second`.
struct AddLeafTask {
  LeafSum sum;
  float* leaf = nullptr;
  uint32_t* words = nullptr;
};
// out[i] += the quanta of sum [first + i], of `count` numbers.
struct AddQuantaTask {
  LeafSum sum;
  int64_t first = 0, count = 0;
  int64_t* out = nullptr;
  uint32_t* words = nullptr;
};

#define TEMPER_DEVICE_GRADIENT_SUM(DEVICE)                                                      \
  namespace DEVICE {                                                                            \
  /* 20 bytes an element (a second leaf: 16) and 8 f64 operations a value, of which a clock and \
     multiprocessor 64 are done: memory, 85%; f64 would allow 5 times that. */                  \
  void AddLeaf(const AddLeafTask& task, Stream& stream);                                        \
  /* 24 bytes an element (20 of one leaf): memory, 85%. */                                      \
  void AddQuanta(const AddQuantaTask& task, Stream& stream);                                    \
  /* sum.first[first + i] = out[i] x 2^-bits. 12 bytes an element: memory, 85%. */              \
  void RoundQuanta(const AddQuantaTask& task, Stream& stream);                                  \
  /* 12 bytes an element (8 of one leaf): memory, 85%. */                                       \
  void RoundGradient(const LeafSum& sum, uint32_t* words, Stream& stream);                      \
  }
TEMPER_DEVICE_GRADIENT_SUM(sim)
TEMPER_DEVICE_GRADIENT_SUM(sm90)
#undef TEMPER_DEVICE_GRADIENT_SUM

}  // namespace temper::kernels
