// SPDX-License-Identifier: Apache-2.0
#include "rollout/prefix_cache.h"

#include <numeric>

#include "core/check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using ::testing::ElementsAre;

std::vector<int32_t> Range(int32_t first, int64_t count) {
  std::vector<int32_t> tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

TEST(PageAllocator, APageIsFreeWhenNobodyHasItAnyMore) {
  PageAllocator pages(2);
  const int32_t page = pages.Take();
  pages.Share(page);
  pages.Keep(page);
  pages.Release(page);
  EXPECT_TRUE(pages.owned(page));
  EXPECT_EQ(pages.unused_pages(), 0);
  pages.Release(page);
  EXPECT_FALSE(pages.owned(page));
  EXPECT_EQ(pages.unused_pages(), 1);
  EXPECT_EQ(pages.free_pages(), 1);
  pages.Share(page);
  EXPECT_EQ(pages.unused_pages(), 0);
  pages.LetGo(page);
  EXPECT_EQ(pages.free_pages(), 1);
  pages.Release(page);
  EXPECT_EQ(pages.free_pages(), 2);
  EXPECT_THROW(pages.Release(page), InternalError);
  EXPECT_THROW(pages.Share(page), InternalError);
}

class Prefixes : public ::testing::Test {
 protected:
  // A sequence computes these tokens in pages of its own, which are returned, and is gone.
  std::vector<int32_t> Insert(const std::vector<int32_t>& tokens) {
    std::vector<int32_t> own;
    for (int64_t i = 0; i < PagesFor(static_cast<int64_t>(tokens.size())); ++i) own.push_back(pages_.Take());
    prefixes_.Insert(tokens, own);
    for (int32_t page : own) pages_.Release(page);
    return own;
  }

  PageAllocator pages_{10};
  PrefixCache prefixes_{&pages_};
};

TEST_F(Prefixes, FindsWholePagesAndTheBeginningOfOneMore) {
  EXPECT_EQ(prefixes_.Find(Range(0, 100)).tokens, 0);
  const std::vector<int32_t> own = Insert(Range(0, 140));
  const PrefixCache::Match all = prefixes_.Find(Range(0, 140));
  EXPECT_THAT(all.whole, ElementsAre(own[0], own[1]));
  EXPECT_EQ(all.partial, own[2]);
  EXPECT_EQ(all.tokens, 140);
  EXPECT_EQ(prefixes_.Find(Range(0, 300)).tokens, 140);
  const PrefixCache::Match two = prefixes_.Find(Range(0, 128));
  EXPECT_THAT(two.whole, ElementsAre(own[0], own[1]));
  EXPECT_EQ(two.partial, -1);
  std::vector<int32_t> other = Range(0, 140);
  other[70] = 9999;
  const PrefixCache::Match cut = prefixes_.Find(other);
  EXPECT_THAT(cut.whole, ElementsAre(own[0]));
  EXPECT_EQ(cut.partial, own[1]);
  EXPECT_EQ(cut.tokens, 70);
  EXPECT_EQ(prefixes_.Find({}).tokens, 0);
}

TEST_F(Prefixes, OfSeveralPagesTheOneWithTheMostTokensCounts) {
  for (int32_t last : {3, 50, 20, 63}) {
    std::vector<int32_t> tokens = Range(0, 64);
    for (int32_t i = last; i < 64; ++i) tokens[i] = 1000 - last;  // before and behind 0, 1, .. in their order
    Insert(tokens);
  }
  Insert({-1, 5});
  EXPECT_EQ(prefixes_.Find(Range(0, 64)).tokens, 63);
  EXPECT_EQ(prefixes_.Find(Range(0, 10)).tokens, 10);
}

TEST_F(Prefixes, WhatIsThereStaysAndCostsNoOtherPage) {
  const std::vector<int32_t> first = Insert(Range(0, 100));
  EXPECT_EQ(pages_.unused_pages(), 2);
  Insert(Range(0, 100));
  EXPECT_EQ(pages_.unused_pages(), 2);
  EXPECT_EQ(pages_.free_pages(), 8);
  EXPECT_THAT(prefixes_.Find(Range(0, 100)).whole, ElementsAre(first[0]));
}

TEST_F(Prefixes, GiveUpWhatNobodyOwnsTheEndsFirst) {
  const std::vector<int32_t> old = Insert(Range(0, 128));
  const std::vector<int32_t> used = Insert(Range(5000, 128));
  const std::vector<int32_t> late = Insert(Range(9000, 64));
  for (int32_t page : used) pages_.Share(page);
  EXPECT_TRUE(prefixes_.Evict());
  EXPECT_EQ(prefixes_.Find(Range(0, 128)).tokens, 64) << "now it is the last one asked for";
  EXPECT_TRUE(prefixes_.Evict());
  EXPECT_EQ(prefixes_.Find(Range(9000, 64)).tokens, 0);
  EXPECT_TRUE(prefixes_.Evict());
  EXPECT_FALSE(prefixes_.Evict());
  EXPECT_EQ(pages_.free_pages(), 8);
  EXPECT_EQ(prefixes_.Find(Range(5000, 128)).tokens, 128);
  prefixes_.Clear();
  EXPECT_EQ(prefixes_.Find(Range(5000, 128)).tokens, 0);
  for (int32_t page : used) pages_.Release(page);
  EXPECT_EQ(pages_.free_pages(), 10);
}

TEST_F(Prefixes, APageGoesWithWhatOnlyItLeadsTo) {
  // Two sequences compute the same first page; what follows it in the second is led to by the first one's.
  Insert(Range(0, 64));
  std::vector<int32_t> own = {pages_.Take(), pages_.Take()};
  prefixes_.Insert(Range(0, 128), own);
  EXPECT_EQ(pages_.unused_pages(), 1);
  EXPECT_TRUE(prefixes_.Evict());
  EXPECT_EQ(prefixes_.Find(Range(0, 128)).tokens, 0);
  EXPECT_EQ(pages_.free_pages(), 8);
  for (int32_t page : own) pages_.Release(page);
  EXPECT_EQ(pages_.free_pages(), 10);
}

}  // namespace
}  // namespace temper
