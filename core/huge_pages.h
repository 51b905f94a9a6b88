// SPDX-License-Identifier: Apache-2.0
// Memory that is walked through again and again: a processor remembers where some thousands of pages lie, and
// of 4 KiB each those are less than a model.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

namespace temper {

// Asks the system to back this memory with huge pages as it is first written. A hint: what cannot be had, or
// is less than a huge page, stays as it is.
void AdviseHugePages(void* memory, int64_t bytes);

// Floats that are not initialised, from a cache line's start on, in huge pages where they are large.
class FloatBuffer {
 public:
  // At least `floats` of them. What they held is lost if that is more than any call before asked for.
  float* Reserve(int64_t floats);

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float[], Free> memory_;
  int64_t floats_ = 0;
};

}  // namespace temper
