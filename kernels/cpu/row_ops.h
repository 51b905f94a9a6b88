// SPDX-License-Identifier: Apache-2.0
// The inner loops of kernels/row_ops.cc, one copy for each instruction set. Serial.
#pragma once

#include <stdint.h>

namespace temper::kernels {

// Columns of dweight that one piece of the norm's backward takes.
constexpr int kNormColumns = 64;

struct RmsNormTask;
struct RmsNormBackwardTask;
struct RotaryTask;
struct SwiGluTask;
struct SwiGluBackwardTask;

// Of rows [begin, end) of a task.
#define TEMPER_ROW_OPS(ISA)                                                            \
  namespace ISA {                                                                      \
  void NormRows(const RmsNormTask& task, int64_t begin, int64_t end);                  \
  void NormBackwardRows(const RmsNormBackwardTask& task, int64_t begin, int64_t end);  \
  /* dweight[begin, end), at most kNormColumns of them. */                             \
  void NormWeightColumns(const RmsNormBackwardTask& task, int64_t begin, int64_t end); \
  void RotateRows(const RotaryTask& task, int64_t begin, int64_t end);                 \
  void SwiGluRows(const SwiGluTask& task, int64_t begin, int64_t end);                 \
  void SwiGluBackwardRows(const SwiGluBackwardTask& task, int64_t begin, int64_t end); \
  /* to[i] = to[i] + from[i]. */                                                       \
  void AddRow(const float* from, int64_t n, float* to);                                \
  }
TEMPER_ROW_OPS(plain)
TEMPER_ROW_OPS(avx2)
TEMPER_ROW_OPS(avx512)
#undef TEMPER_ROW_OPS

}  // namespace temper::kernels
