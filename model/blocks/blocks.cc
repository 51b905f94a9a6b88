// SPDX-License-Identifier: Apache-2.0
#include "model/blocks/blocks.h"

namespace temper {

std::unique_ptr<Block> MakeAttentionBlock(const ModelConfig& config, const WeightSource& weights,
                                          const LayerPlace& at) {
  return config.is_mla() ? MakeLatentAttention(config, weights, at)
                         : MakeGroupedAttention(config, weights, at);
}

std::unique_ptr<Block> MakeMlpBlock(const ModelConfig& config, const WeightSource& weights,
                                    const LayerPlace& at) {
  return config.is_moe_layer(at.layer) ? MakeMoe(config, weights, at) : MakeDenseMlp(config, weights, at);
}

}  // namespace temper
