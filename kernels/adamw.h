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

// What a step's numbers come to, each rounded once from f64.
struct AdamWFactors {
  float gradient_scale = 1;
  float decay = 0;               // -lr wd
  float m_rate = 0, v_keep = 0;  // 1 - beta1; beta2
  float v_rate = 0;              // 1 - beta2
  float step = 0;                // lr / (1 - beta1^t)
  float root_correction = 1;     // sqrt(1 - beta2^t)
  float epsilon = 0;
};
AdamWFactors FactorsOf(const AdamWStep& step);

// What a step made of a tensor.
struct AdamWOutcome {
  bool finite = true;  // every new weight and moment is
  float largest = 0;   // of the new weights that are numbers, without their sign
};

// Elements whose squares are one chain (Backend::SumOfSquares).
inline constexpr int64_t kSquaresPiece = 65536;

}  // namespace temper::kernels
