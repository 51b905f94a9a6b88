// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "comm/mesh.h"
#include "kernels/attention.h"
#include "kernels/backend.h"
#include "model/config/config.h"

namespace temper {

// What attention reads and writes in one layer on the rank at this place, which has some of the heads: for
// MLA the latent and the rotated key, shared by all heads.
kernels::AttentionShape AttentionShapeOf(const ModelConfig& config, const MeshPlace& place = {});

// The paged cache's storage: `pages` pages of 64 positions, each in every layer that the rank has. Where the
// policy has an MTP module a page is in the module's layer too, behind the others, and has the rows that the
// module reads, so that it may run later than the policy. Who owns which page is the engine's business
// (rollout/page_allocator.h). Keys and values are of the config's cache type.
// Memory is not cleared: attention never reads a position that was not written.
class KvCache {
 public:
  // In the backend's memory, which outlives it.
  KvCache(const ModelConfig& config, int64_t pages, kernels::Backend& backend, const MeshPlace& place = {});

  int64_t pages() const { return pages_; }
  int64_t bytes() const { return (layers_ * block_words_ + hidden_words_) * pages_ * 4; }
  void* Block(int64_t layer, int64_t page) const { return Page(page).Row(layer); }
  // From a page in one layer to the same page in the next.
  int64_t layer_bytes() const { return pages_ * block_words_ * 4; }
  // From a page in the first layer to the same page in that of the MTP module.
  int64_t mtp_offset() const { return (layers_ - 1) * layer_bytes(); }
  // What the final norm gave, a row for each position of each page: page p has rows 64p to 64p + 63.
  kernels::Matrix hidden() const {
    return kernels::F32(static_cast<float*>(storage_.get()) + layers_ * pages_ * block_words_,
                        pages_ * kernels::kAttentionBlock, hidden_words_ / kernels::kAttentionBlock);
  }
  // Copies a page in every layer: copy on write of a prompt's last page that a group shares.
  void CopyPage(int64_t from, int64_t to);

  // On a rank of the pipeline that has the most layers, and the module behind them, so that all have as many
  // pages.
  static int64_t BytesPerPage(const ModelConfig& config, const MeshPlace& place = {});

 private:
  // A page in every layer, one a row, in words of 4 bytes, whatever numbers are in them.
  kernels::Matrix Page(int64_t page) const {
    return kernels::F32(static_cast<float*>(storage_.get()) + page * block_words_, layers_, block_words_)
        .Strided(pages_ * block_words_);
  }

  kernels::Backend& backend_;
  const int64_t layers_, pages_, block_words_, hidden_words_;
  std::shared_ptr<void> storage_;  // [layers, pages, block_words], then [pages, hidden_words]
};

}  // namespace temper
