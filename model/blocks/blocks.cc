// SPDX-License-Identifier: Apache-2.0
#include "model/blocks/blocks.h"

namespace temper {

std::unique_ptr<Block> MakeAttentionBlock(const ModelConfig& config, const WeightSource& weights,
                                          int64_t layer) {
  return config.is_mla() ? MakeLatentAttention(config, weights, layer)
                         : MakeGroupedAttention(config, weights, layer);
}

std::unique_ptr<Block> MakeMlpBlock(const ModelConfig& config, const WeightSource& weights, int64_t layer) {
  return config.is_moe_layer(layer) ? MakeMoe(config, weights, layer) : MakeDenseMlp(config, weights, layer);
}

}  // namespace temper
