// SPDX-License-Identifier: Apache-2.0
#include "rollout/page_allocator.h"

#include "core/check.h"

namespace temper {

PageAllocator::PageAllocator(int64_t pages) : owners_(pages, 0), kept_(pages, false), mtp_keys_(pages, 0) {
  for (int64_t page = pages; page-- > 0;) free_.push_back(static_cast<int32_t>(page));
}

int32_t PageAllocator::Take() {
  TEMPER_CHECK(!free_.empty(), "the cache is full");
  const int32_t page = free_.back();
  free_.pop_back();
  owners_[page] = 1;
  mtp_keys_[page] = 0;
  return page;
}

void PageAllocator::Share(int32_t page) {
  TEMPER_CHECK(owners_[page] > 0 || kept_[page]);
  if (owners_[page]++ == 0) --unused_;
}

void PageAllocator::Release(int32_t page) {
  TEMPER_CHECK(owners_[page] > 0);
  if (--owners_[page] > 0) return;
  if (kept_[page]) {
    ++unused_;
  } else {
    free_.push_back(page);
  }
}

void PageAllocator::Keep(int32_t page) {
  TEMPER_CHECK(owners_[page] > 0 && !kept_[page]);
  kept_[page] = true;
}

void PageAllocator::LetGo(int32_t page) {
  TEMPER_CHECK(kept_[page]);
  kept_[page] = false;
  if (owners_[page] > 0) return;
  --unused_;
  free_.push_back(page);
}

}  // namespace temper
