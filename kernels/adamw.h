// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace temper::kernels {

struct AdamWStep {
  float learning_rate = 0;
  float beta1 = 0.9f, beta2 = 0.95f;
  float epsilon = 1e-8f;
  float weight_decay = 0;
  int64_t step = 1;          // from 1, for the bias correction
  float gradient_scale = 1;  // the gradient is multiplied by it first (norm clipping)
};

// Decoupled weight decay (Loshchilov and Hutter 2019), elementwise, as torch.optim.AdamW orders it:
// w -= lr * wd * w; m, v; w -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps). Bias corrections
// in f64, rounded once.
struct AdamWTask {
  AdamWStep step = {};
  int64_t n = 0;
  const float* gradient = nullptr;
  float *weight = nullptr, *m = nullptr, *v = nullptr;
};

// What a step made of a tensor.
struct AdamWOutcome {
  bool finite = true;  // every new weight and moment is
  float largest = 0;   // of the new weights that are numbers, without their sign
};

}  // namespace temper::kernels
