// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace temper {

// Who owns which page of the cache. A page may have several owners (a group's prompt); it is free when the
// last lets go. One thread.
class BlockAllocator {
 public:
  explicit BlockAllocator(int64_t pages);
  int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }
  int32_t Take();              // one owner; broken invariant where none is free
  void Share(int32_t page);    // one owner more
  void Release(int32_t page);  // one owner less

 private:
  std::vector<int32_t> free_;
  std::vector<int32_t> owners_;
};

}  // namespace temper
