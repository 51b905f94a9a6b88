// SPDX-License-Identifier: Apache-2.0
#include "core/huge_pages.h"

#include <cstdint>
#include <numeric>
#include <vector>

#include "gtest/gtest.h"

namespace temper {
namespace {

bool StartsAt(const float* p, uintptr_t align) { return reinterpret_cast<uintptr_t>(p) % align == 0; }

TEST(HugePages, ABufferGrowsAndKeepsWhatItHeldUntilThen) {
  FloatBuffer buffer;
  float* small = buffer.Reserve(1000);
  EXPECT_TRUE(StartsAt(small, 64));
  std::iota(small, small + 1000, 0.0f);
  EXPECT_EQ(buffer.Reserve(10), small);
  EXPECT_EQ(buffer.Reserve(1000)[999], 999.0f);

  const int64_t floats = (3 << 20) / 4 + 5;  // a huge page and a half, and not a whole number of lines
  float* large = buffer.Reserve(floats);
  EXPECT_TRUE(StartsAt(large, 2 << 20));
  std::iota(large, large + floats, 0.0f);
  EXPECT_EQ(buffer.Reserve(floats)[floats - 1], static_cast<float>(floats - 1));
}

TEST(HugePages, AdviceChangesNoBytes) {
  std::vector<float> memory((9 << 20) / 4);
  std::iota(memory.begin(), memory.end(), 0.0f);
  const std::vector<float> before = memory;
  AdviseHugePages(memory.data(), static_cast<int64_t>(memory.size() * 4));
  AdviseHugePages(memory.data() + 1, 3);
  AdviseHugePages(nullptr, 0);
  EXPECT_EQ(memory, before);
}

}  // namespace
}  // namespace temper
