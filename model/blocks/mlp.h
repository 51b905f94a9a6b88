// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "model/blocks/blocks.h"

namespace temper {

// The three linears of a SwiGLU MLP: down(silu(gate(x)) * up(x)) (Shazeer 2020).
struct SwiGluLinears {
  SwiGluLinears() = default;  // none
  SwiGluLinears(const WeightSource& source, const std::string& prefix)
      : gate(source, prefix + "gate_proj", Cut::kOutputs),
        up(source, prefix + "up_proj", Cut::kOutputs),
        down(source, prefix + "down_proj", Cut::kInputs) {}

  explicit operator bool() const { return static_cast<bool>(gate); }
  int64_t width() const { return gate.outputs(); }

  Linear gate, up, down;
};

}  // namespace temper
