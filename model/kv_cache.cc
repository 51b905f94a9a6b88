// SPDX-License-Identifier: Apache-2.0
#include "model/kv_cache.h"

#include "core/check.h"
#include "model/layout.h"

namespace temper {

kernels::AttentionShape AttentionShapeOf(const ModelConfig& config, const MeshPlace& place) {
  const int ranks = static_cast<int>(place.sizes.tp);
  kernels::AttentionShape shape;
  shape.all_heads = static_cast<int>(config.num_heads);
  shape.q_heads = shape.all_heads / ranks;
  shape.first_head = shape.q_heads * static_cast<int>(place[Axis::kTp]);
  shape.scale = config.softmax_scale();
  shape.stored = config.cache;
  if (config.is_mla()) {
    shape.kv_heads = 1;
    shape.qk_dim = static_cast<int>(config.kv_lora_rank + config.qk_rope_head_dim);
    shape.v_dim = static_cast<int>(config.kv_lora_rank);
  } else {
    shape.kv_heads = static_cast<int>(config.num_kv_heads) / ranks;
    shape.qk_dim = static_cast<int>(config.head_dim);
    shape.v_dim = static_cast<int>(config.head_dim);
  }
  return shape;
}

namespace {

// Of a page's rows that the MTP module reads.
int64_t HiddenWords(const ModelConfig& config) { return kernels::kAttentionBlock * config.hidden_size; }

// Which of a pipeline's ranks has the module.
bool HasMtp(const ModelConfig& config, const MeshPlace& place) {
  return config.has_mtp() && place[Axis::kPp] == place.sizes.pp - 1;
}

}  // namespace

KvCache::KvCache(const ModelConfig& config, int64_t pages, kernels::Backend& backend, const MeshPlace& place)
    : backend_(backend),
      layers_(NumLayersOf(config, place) + (HasMtp(config, place) ? 1 : 0)),
      pages_(pages),
      block_words_(kernels::BlockBytes(AttentionShapeOf(config, place)) / 4),
      hidden_words_(HasMtp(config, place) ? HiddenWords(config) : 0) {
  TEMPER_CHECK(pages > 0, "pages is ", pages);
  storage_ = backend.Allocate(bytes());
}

void KvCache::CopyPage(int64_t from, int64_t to) {
  backend_.Copy(Page(from), Page(to));
  if (hidden_words_ == 0) return;
  const auto rows = [this](int64_t page) {
    return hidden().Rows(page * kernels::kAttentionBlock, kernels::kAttentionBlock);
  };
  backend_.Copy(rows(from), rows(to));
}

int64_t KvCache::BytesPerPage(const ModelConfig& config, const MeshPlace& place) {
  const int64_t layer = kernels::BlockBytes(AttentionShapeOf(config, place));
  return MostLayers(config, place.sizes) * layer + (config.has_mtp() ? layer + HiddenWords(config) * 4 : 0);
}

}  // namespace temper
