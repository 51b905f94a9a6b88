// SPDX-License-Identifier: Apache-2.0
// The launches of kernels/row_ops.h: the same tasks, all of whose pointers are of the device's memory, those
// that the tasks have on the host included. Each line says what a launch moves and computes, what bounds it
// on an H100 (3.0 TB/s that can be had of its memory, 132 multiprocessors) and which share of that its form
// should reach. None has run on a device yet.
#pragma once

#include "kernels/cuda/stream.h"
#include "kernels/row_ops.h"

namespace temper::kernels {

#define TEMPER_DEVICE_ROW_OPS(DEVICE)                                                                        \
  namespace DEVICE {                                                                                         \
  /* 8 bytes and 4 FLOPs an element: memory. A block a row: 90% from some 1,000 rows on. Of few rows (a      \
     decode step) the chains' latency bounds it: of 7,168 columns 448 steps of 4 clocks, and the row's way   \
     in, about 3 us. */                                                                                      \
  void RmsNorm(const RmsNormTask& task, Stream& stream);                                                     \
  /* dx: 12 bytes an element and 9 FLOPs (16 and 10 with `add`), 90% as above. dweight: 8 bytes an           \
     element and 3 FLOPs; chains over rows leave a thread a column: of 7,168 columns 40% at 16 rows on       \
     their way at a time. */                                                                                 \
  void RmsNormBackward(const RmsNormBackwardTask& task, Stream& stream);                                     \
  /* 8 bytes an element and 3.5 FLOPs: memory, 85%. */                                                       \
  void Rotary(const RotaryTask& task, Stream& stream);                                                       \
  /* 12 bytes and some 30 instructions an element: memory, 90%; instructions would allow 1.5 times that. */  \
  void SwiGlu(const SwiGluTask& task, Stream& stream);                                                       \
  /* 20 bytes and some 36 instructions an element: memory, 90%. */                                           \
  void SwiGluBackward(const SwiGluBackwardTask& task, Stream& stream);                                       \
  /* 8 bytes an element (6 of bf16): memory, 85%. */                                                         \
  void GatherRows(const GatherRowsTask& task, Stream& stream);                                               \
  /* 12 bytes an element and a FLOP: memory, 80%. A block a row looks for its id among all rows, and the     \
     first of an id adds all of its rows up: 4 bytes a pair of rows, from the cache, and some 20             \
     instructions for 32 of them, 0.7 ms of 32,768 rows of as many ids; of an id that came before a block    \
     looks no further. */                                                                                    \
  void EmbeddingGradient(const EmbeddingGradientTask& task, Stream& stream);                                 \
  /* Backend's Zero, Copy and CopyHeads, of f32. 4 bytes an element: memory, 90% from some 1 MB on. */       \
  void Zero(const Matrix& to, Stream& stream);                                                               \
  /* 8 bytes an element: memory, 90% of rows of 1,000 elements or more, and of rows one behind the other. */ \
  void Copy(const Matrix& from, const Matrix& to, Stream& stream);                                           \
  /* The same; heads of an odd number of elements go one element at a time, at about half of that. */        \
  void CopyHeads(const Heads& from, const Heads& to, Stream& stream);                                        \
  /* to[i][j] = to[i][j] + from[i][j]. 12 bytes an element and a FLOP: memory, 90%. */                       \
  void Add(const Matrix& from, const Matrix& to, Stream& stream);                                            \
  /* Backend::RoundToBf16. 6 bytes an element: memory, 90%. */                                               \
  void RoundToBf16(const Matrix& from, const Matrix& to, Stream& stream);                                    \
  }
TEMPER_DEVICE_ROW_OPS(sim)
TEMPER_DEVICE_ROW_OPS(sm90)
#undef TEMPER_DEVICE_ROW_OPS

}  // namespace temper::kernels
