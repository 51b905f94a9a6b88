// SPDX-License-Identifier: Apache-2.0
// The launches of kernels/token_logprob.h on logits that the products have made (kernels/cuda/products.h):
// the tasks' rows are those of the logits, all with a target, and all pointers are of the device's memory. An
// H100 has 132 multiprocessors, 3.0 TB/s of memory and 5 of cache. None has run on a device yet.
#pragma once

#include "kernels/cuda/stream.h"
#include "kernels/token_logprob.h"

namespace temper::kernels {

// The logits [rows, vocab] of a task's rows, and memory of rows x kChunks x 2 floats to work in.
struct LogitTile {
  Matrix logits = {};
  float* sums = nullptr;
};

#define TEMPER_DEVICE_TOKEN_LOGPROB(DEVICE)                                                                 \
  namespace DEVICE {                                                                                        \
  /* 8 bytes a logit and some 26 instructions: a block a chunk, 1/8 of a row. 60% of the memory from some   \
     130 rows on; a chunk's chains (129,280 / 128 steps of 4 clocks) hide behind the exponentials. Entropy, \
     where it is asked for: a chain of f64 over 1/16 of a row, 8 clocks a step, 40 us of 129,280 for up to  \
     1,056 rows at a time. */                                                                               \
  void TokenLogprobs(const TokenLogprobsTask& task, const LogitTile& tile, Stream& stream);                 \
  /* The logits become their gradient: 8 bytes and some 28 instructions a logit: memory, 85%. */            \
  void SoftmaxGradients(const TokenLogprobsBackwardTask& task, const Matrix& logits, Stream& stream);       \
  }
TEMPER_DEVICE_TOKEN_LOGPROB(sim)
TEMPER_DEVICE_TOKEN_LOGPROB(sm90)
#undef TEMPER_DEVICE_TOKEN_LOGPROB

}  // namespace temper::kernels
