// SPDX-License-Identifier: Apache-2.0
// A model's config.json, and which parameters it has.
#include "model/config/config.h"
#include "model/config/quantization.h"
#include "tests/fuzz/fuzz.h"

FUZZ(bytes) {
  using namespace temper;
  const auto config = ParseModelConfig(std::string(bytes), "input");
  if (!config.ok()) return;
  config->softmax_scale();
  for (int64_t layer = 0; layer < std::min<int64_t>(config->num_layers, 1000); ++layer) {
    config->is_moe_layer(layer);
    config->window(layer);
  }
}
