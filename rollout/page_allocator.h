// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/attention.h"

namespace temper {

// Positions that a page of the cache holds.
constexpr int64_t kPagePositions = kernels::kAttentionBlock;
constexpr int64_t PagesFor(int64_t positions) { return (positions + kPagePositions - 1) / kPagePositions; }

// Who owns which page of the cache. A page may have several owners (a prompt that sequences share), and
// beside them one keeper (rollout/prefix_cache.h); it is free when nobody has it any more. Of its positions,
// from the first on, the MTP module has so many keys in it: none when it is taken. One thread.
class PageAllocator {
 public:
  explicit PageAllocator(int64_t pages);
  int64_t pages() const { return static_cast<int64_t>(owners_.size()); }
  int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }
  int64_t unused_pages() const { return unused_; }  // kept, and of no owner
  bool owned(int32_t page) const { return owners_[page] > 0; }

  int32_t Take();              // one owner; broken invariant where none is free
  void Share(int32_t page);    // one owner more, of a page that is owned or kept
  void Release(int32_t page);  // one owner less
  void Keep(int32_t page);     // by the keeper, a page that is owned
  void LetGo(int32_t page);    // by the keeper

  int64_t mtp_keys(int32_t page) const { return mtp_keys_[page]; }
  void SetMtpKeys(int32_t page, int64_t keys) { mtp_keys_[page] = static_cast<uint8_t>(keys); }

 private:
  std::vector<int32_t> free_;
  std::vector<int32_t> owners_;
  std::vector<bool> kept_;
  std::vector<uint8_t> mtp_keys_;
  int64_t unused_ = 0;
};

}  // namespace temper
