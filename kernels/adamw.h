// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "core/thread_pool.h"

namespace temper::kernels {

struct AdamWStep {
  float learning_rate = 0;
  float beta1 = 0.9f, beta2 = 0.95f;
  float epsilon = 1e-8f;
  float weight_decay = 0;
  int64_t step = 1;          // from 1, for the bias correction
  float gradient_scale = 1;  // the gradient is multiplied by it first (norm clipping)
};

// What a step made of a tensor.
struct AdamWOutcome {
  bool finite = true;  // every new weight and moment is
  float largest = 0;   // of the new weights that are numbers, without their sign
};

// Decoupled weight decay (Loshchilov and Hutter 2019), elementwise, as torch.optim.AdamW orders it:
// w -= lr * wd * w; m, v; w -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps). Bias corrections
// in f64, rounded once.
AdamWOutcome AdamW(const AdamWStep& step, int64_t n, const float* gradient, float* weight, float* m, float* v,
                   ThreadPool& pool);

// Sum of squares in f64: chunks of 4,096 elements (16 strided lanes, fixed tree), chunks in a binary tree.
double SumOfSquares(const float* x, int64_t n, ThreadPool& pool);

// a[i] = a[i] + b[i].
void AddInto(const float* b, int64_t n, float* a, ThreadPool& pool);

}  // namespace temper::kernels
