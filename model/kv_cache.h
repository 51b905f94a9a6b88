// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "kernels/attention.h"
#include "model/config.h"

namespace temper {

// What attention reads and writes in one layer: for MLA the latent and the rotated key, shared by all heads.
kernels::AttentionShape AttentionShapeOf(const ModelConfig& config);

// The paged cache's storage: `pages` pages of 64 positions, each in every layer. Who owns which page is the
// engine's business (rollout/block_allocator.h). Memory is not cleared: attention never reads a position that
// was not written.
class KvCache {
 public:
  KvCache(const ModelConfig& config, int64_t pages, at::Device device = at::kCPU);

  int64_t pages() const { return pages_; }
  int64_t bytes() const { return storage_.numel() * 4; }
  float* Block(int64_t layer, int64_t page) const { return data_ + (layer * pages_ + page) * block_floats_; }
  // Copies a page in every layer: copy on write of a prompt's last page that a group shares.
  void CopyPage(int64_t from, int64_t to);

  static int64_t BytesPerPage(const ModelConfig& config);

 private:
  at::Tensor storage_;  // [layers, pages, block_floats]
  float* data_ = nullptr;
  int64_t layers_ = 0;
  int64_t pages_ = 0;
  int64_t block_floats_ = 0;
};

}  // namespace temper
