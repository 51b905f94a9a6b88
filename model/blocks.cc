// SPDX-License-Identifier: Apache-2.0
#include "model/blocks.h"

#include "core/check.h"

namespace temper {

std::unique_ptr<Block> MakeAttentionBlock(const ModelConfig& config, const WeightSource& weights,
                                          int64_t layer) {
  return config.is_mla() ? MakeLatentAttention(config, weights, layer)
                         : MakeGroupedAttention(config, weights, layer);
}

std::unique_ptr<Block> MakeMlpBlock(const ModelConfig& config, const WeightSource& weights, int64_t layer) {
  return config.is_moe_layer(layer) ? MakeMoe(config, weights, layer) : MakeDenseMlp(config, weights, layer);
}

kernels::Product Forward(const Weight& weight, Matrix x, Matrix y, int k_chunks, const Weight* bias,
                         Matrix add) {
  return {.a = x,
          .b = weight.value,
          .packed = weight.packed,
          .c = y,
          .k_chunks = k_chunks,
          .bias = bias == nullptr ? nullptr : bias->value.f32(),
          .add = add};
}

kernels::Product InputGradient(const Weight& weight, Matrix dy, Matrix dx, int k_chunks, Matrix add) {
  return {.a = dy, .b = weight.value, .b_transposed = false, .c = dx, .k_chunks = k_chunks, .add = add};
}

kernels::WeightGradient GradientOf(const Weight& weight, Matrix dy, Matrix x) {
  TEMPER_CHECK(weight.gradient);
  return {.dy = dy, .x = x, .dw = weight.gradient};
}

}  // namespace temper
