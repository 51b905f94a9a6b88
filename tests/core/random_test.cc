// SPDX-License-Identifier: Apache-2.0
#include "core/random.h"

#include <cmath>
#include <set>

#include "core/check.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using Words = std::array<uint32_t, 4>;

// The known-answer vectors that come with Random123 (kat_vectors: philox4x32 10).
TEST(Philox, GivesThePublishedAnswers) {
  EXPECT_EQ(Philox({0, 0, 0, 0}, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox({~0u, ~0u, ~0u, ~0u}, ~0ull), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822ull),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomKey, DependsOnEveryPartAndOnWhereOnePartEnds) {
  std::set<uint64_t> keys;
  for (uint64_t seed : {0, 1}) {
    for (const char* stage : {"", "a", "ab"}) {
      for (uint64_t rollout : {0, 1}) {
        for (const char* id : {"", "b", "ab"}) keys.insert(RandomKey(seed, stage, rollout, id));
      }
    }
  }
  EXPECT_EQ(keys.size(), 2u * 3 * 2 * 3);
  EXPECT_EQ(RandomKey(7, "rl", 3, "x"), RandomKey(7, "rl", 3, std::string("x")));
}

TEST(Uniform, LiesInZeroToOneAndHasTheRightMeanAndVariance) {
  double sum = 0, squares = 0;
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) {
    const double u = Uniform(11, i, 5, Purpose::kSample);
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
    squares += u * u;
  }
  const double mean = sum / kDraws;
  EXPECT_NEAR(mean, 0.5, 0.005);
  EXPECT_NEAR(squares / kDraws - mean * mean, 1.0 / 12, 0.002);
}

TEST(Uniform, PurposesAndDrawsNeverShareNumbers) {
  std::set<double> seen;
  for (Purpose purpose : {Purpose::kSample, Purpose::kShuffle, Purpose::kInit, Purpose::kReward}) {
    for (uint32_t draw = 0; draw < 50; ++draw) seen.insert(Uniform(3, 1, 2, purpose, draw));
  }
  EXPECT_EQ(seen.size(), 200u);
}

TEST(RandomStream, ACopyGoesOnWithTheSameDraws) {
  RandomStream a(5, Purpose::kTask);
  a.NextUniform();
  RandomStream b = a;
  EXPECT_EQ(a.NextBelow(1000), b.NextBelow(1000));
  EXPECT_EQ(a.NextNormal(), b.NextNormal());
}

TEST(RandomStream, NextBelowIsUniformByChiSquare) {
  RandomStream random(5, Purpose::kTask);
  int counts[10] = {};
  for (int i = 0; i < 100'000; ++i) ++counts[random.NextBelow(10)];
  double chi = 0;
  for (int count : counts) chi += (count - 1e4) * (count - 1e4) / 1e4;
  EXPECT_LT(chi, 27.9);  // 9 degrees of freedom, p = 0.001
  EXPECT_EQ(random.NextBelow(1), 0u);
  EXPECT_LT(random.NextBelow(UINT64_MAX), UINT64_MAX);
  EXPECT_THROW(random.NextBelow(0), InternalError);
}

TEST(RandomStream, NormalsHaveMeanZeroAndVarianceOne) {
  RandomStream random(5, Purpose::kInit);
  double sum = 0, squares = 0;
  for (int i = 0; i < 100'000; ++i) {
    const double x = random.NextNormal();
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / 1e5, 0.0, 0.015);
  EXPECT_NEAR(squares / 1e5, 1.0, 0.02);
}

TEST(RandomStream, NeverPicksAWeightOfZero) {
  RandomStream random(5, Purpose::kTask);
  int counts[4] = {};
  for (int i = 0; i < 10'000; ++i) ++counts[random.NextWeighted({0.0, 1.0, 3.0, 0.0})];
  EXPECT_EQ(counts[0] + counts[3], 0);
  EXPECT_NEAR(counts[2] / 1e4, 0.75, 0.02);
}

TEST(Permutation, IsOneAndDependsOnTheKeyAlone) {
  const std::vector<int64_t> order = Permutation(1000, 9);
  EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), 1000u);
  EXPECT_EQ(order, Permutation(1000, 9));
  EXPECT_NE(order, Permutation(1000, 10));
  EXPECT_TRUE(Permutation(0, 9).empty());
  int first[4] = {};
  for (uint64_t key = 0; key < 8000; ++key) ++first[Permutation(4, key)[0]];
  for (int count : first) EXPECT_NEAR(count, 2000, 150);
}

}  // namespace
}  // namespace temper
