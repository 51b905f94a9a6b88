// SPDX-License-Identifier: Apache-2.0
// logprob = log_softmax(logits / T) of one token, the same bits in sampler, trainer and reference. The
// vocabulary is summed in kChunks chunks [floor(cV/8), floor((c+1)V/8)): in a chunk the maximum, then exp
// sums in 16 strided lanes and the fixed tree; the chunks' (max, sum) are merged as a binary tree. T divides
// each logit once; T = 0 reports T = 1.
#pragma once

#include <cstdint>

#include "core/thread_pool.h"
#include "kernels/gemm.h"

namespace temper::kernels {

struct LogSumExp {
  float max = 0;      // of logits / T
  float log_sum = 0;  // log(sum exp(logit / T - max)), by our own log
};

// One row of logits; `row` is [vocab].
LogSumExp RowLogSumExp(const float* row, int64_t vocab, float temperature);
// row[id] / T - max - log_sum, in this order.
float RowLogprob(const float* row, int64_t id, float temperature, const LogSumExp& sum);
// -sum p log p of softmax(row / T), f64 accumulation in a fixed order. For metrics.
double RowEntropy(const float* row, int64_t vocab, float temperature, const LogSumExp& sum);

// The head over many tokens: hidden[rows, cols] against head[vocab, cols] (or its packed form),
// targets[rows]; at most a tile of rows' logits exists at once. Writes logprob[rows]; sums[rows] (for
// backward) and entropy[rows] where not null. A target of -1 is skipped: logprob 0.
void TokenLogprobs(const float* hidden, int64_t ldhidden, int64_t rows, int64_t cols, const float* head,
                   const PackedMatrix* packed, int64_t vocab, const int32_t* targets, float temperature,
                   float* logprob, LogSumExp* sums, double* entropy, ThreadPool& pool);

// From dlogprob[rows] (0 rows are skipped): dhidden[rows, cols] is overwritten (summed over the vocabulary in
// kChunks chunks); dhead[vocab, cols] continues its chain over rows ascending. Logits are recomputed tile by
// tile.
void TokenLogprobsBackward(const float* hidden, int64_t ldhidden, int64_t rows, int64_t cols,
                           const float* head, int64_t vocab, const int32_t* targets, float temperature,
                           const LogSumExp* sums, const float* dlogprob, float* dhidden, int64_t lddhidden,
                           float* dhead, ThreadPool& pool);

}  // namespace temper::kernels
