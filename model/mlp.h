// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "model/blocks.h"

namespace temper {

// The three projections of a SwiGLU and their biases (null where the model has none).
struct SwiGluWeights {
  const Weight *gate = nullptr, *up = nullptr, *down = nullptr;
  const Weight *gate_bias = nullptr, *up_bias = nullptr, *down_bias = nullptr;
};
SwiGluWeights FindSwiGlu(const WeightSource& weights, const std::string& prefix);

// The biases' gradients, where there are biases: of what down, gate and up put out.
void BiasGradients(const Context& c, const SwiGluWeights& mlp, Matrix ddown, Matrix dgate, Matrix dup);

}  // namespace temper
