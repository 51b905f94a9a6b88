// SPDX-License-Identifier: Apache-2.0
#include "core/huge_pages.h"

#include <sys/mman.h>

#include <new>

namespace temper {
namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;
constexpr int64_t kCacheLine = 64;

constexpr int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

}  // namespace

void AdviseHugePages(void* memory, int64_t bytes) {
#if defined(MADV_HUGEPAGE)
  const int64_t address = reinterpret_cast<int64_t>(memory);
  const int64_t begin = RoundUp(address, kHugePage), end = (address + bytes) / kHugePage * kHugePage;
  if (begin < end)
    (void)madvise(static_cast<char*>(memory) + (begin - address), static_cast<size_t>(end - begin),
                  MADV_HUGEPAGE);
#endif
}

float* FloatBuffer::Reserve(int64_t floats) {
  if (floats <= floats_) return memory_.get();
  const int64_t bytes = floats * static_cast<int64_t>(sizeof(float));
  const int64_t align = bytes < kHugePage ? kCacheLine : kHugePage;
  memory_ = nullptr;  // first, so that the two are never held together
  floats_ = 0;
  memory_.reset(static_cast<float*>(std::aligned_alloc(align, RoundUp(bytes, align))));
  if (memory_ == nullptr) throw std::bad_alloc();
  floats_ = floats;
  AdviseHugePages(memory_.get(), bytes);
  return memory_.get();
}

}  // namespace temper
