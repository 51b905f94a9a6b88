// SPDX-License-Identifier: Apache-2.0
// The serial inner loops of kernels/token_logprob.h and kernels/sample.h, once for each instruction set.
#pragma once

#include <stdint.h>

namespace temper::kernels {

struct LogitRow;
struct LogSumExp;

// The largest of z = logits / temperature, and sum exp(z - max).
struct MaxSum {
  float max, sum;
};

struct ExpRowResult {
  double total = 0;    // sum of e, 16 strided lanes
  double entropy = 0;  // sum of e * (log_sum - (z - max)), 16 strided lanes
};

// row[i] becomes ((i == target, where there is one) - exp((z[i] - max) - log_sum)) * factor.
struct SoftmaxGradientTask {
  float* row;
  int64_t n;
  float temperature;
  float max, log_sum;
  int64_t target;  // -1: none
  float factor;
};

// MaxAndSum: over the row's chunks, a subtree of the eight. MergeAll: the tree goes on, over `count` (1, 2, 4
// or 8) subtrees. ExpRow writes e[i] = exp(z[i] - max) where e is not null. BlockSums: sums[b] = the
// ascending chain of e in f64 over the ids of block b (kSampleBlock). FirstLargest: the argmax, ties to the
// lower id.
#define TEMPER_TOKEN_LOGPROB(ISA)                                           \
  namespace ISA {                                                           \
  MaxSum MaxAndSum(const LogitRow& row);                                    \
  MaxSum MergeAll(MaxSum* sums, int count);                                 \
  ExpRowResult ExpRow(const LogitRow& row, const LogSumExp& sum, float* e); \
  void BlockSums(const float* e, int64_t n, double* sums);                  \
  void SoftmaxGradient(const SoftmaxGradientTask& task);                    \
  int64_t FirstLargest(const float* row, int64_t n);                        \
  }
TEMPER_TOKEN_LOGPROB(plain)
TEMPER_TOKEN_LOGPROB(avx2)
TEMPER_TOKEN_LOGPROB(avx512)
#undef TEMPER_TOKEN_LOGPROB

}  // namespace temper::kernels
