// SPDX-License-Identifier: Apache-2.0
#include "rollout/block_allocator.h"

#include "core/check.h"

namespace temper {

BlockAllocator::BlockAllocator(int64_t pages) : owners_(pages, 0) {
  for (int64_t page = pages; page-- > 0;) free_.push_back(static_cast<int32_t>(page));
}

int32_t BlockAllocator::Take() {
  TEMPER_CHECK(!free_.empty(), "the cache is full");
  const int32_t page = free_.back();
  free_.pop_back();
  owners_[page] = 1;
  return page;
}

void BlockAllocator::Share(int32_t page) {
  TEMPER_CHECK(owners_[page] > 0);
  ++owners_[page];
}

void BlockAllocator::Release(int32_t page) {
  TEMPER_CHECK(owners_[page] > 0);
  if (--owners_[page] == 0) free_.push_back(page);
}

}  // namespace temper
