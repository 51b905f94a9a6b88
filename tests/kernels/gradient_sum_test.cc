// SPDX-License-Identifier: Apache-2.0
#include "kernels/gradient_sum.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kernels/reference.h"

namespace temper::kernels {
namespace {

using Integers = std::vector<__int128>;

// The definition, a value at a time, in 128 bits: a value is an integer times a power of two, which is
// shifted and rounded by hand.
__int128 SlowQuanta(float value, int64_t bits) {
  int exponent = 0;
  const auto mantissa = static_cast<int64_t>(std::ldexp(std::frexp(std::abs(value), &exponent), 24));
  const int64_t shift = exponent - 24 + bits;
  __int128 quanta = 0;
  if (shift >= 0) {
    quanta = static_cast<__int128>(mantissa) << shift;
  } else if (shift > -60) {
    const int64_t half = int64_t{1} << (-shift - 1), rest = mantissa & (2 * half - 1);
    quanta = mantissa >> -shift;
    if (rest > half || (rest == half && quanta % 2 == 1)) ++quanta;
  }
  return value < 0 ? -quanta : quanta;
}

// Of magnitudes from subnormal to just below the limit, ties to even and odd of both signs, whole upper and
// lower halves, both zeros.
std::vector<float> HostileValues(int64_t n, const QuantaRule& rule, uint32_t seed) {
  const int bits = static_cast<int>(rule.bits);
  const float most = std::nextafter(std::ldexp(1.0f, 62 - bits) / static_cast<float>(rule.leaves), 0.0f);
  std::mt19937 random(seed);
  std::vector<float> values = Numbers(n, seed);
  for (int64_t i = 0; i < n; ++i) {
    float& v = values[i];
    const float whole = static_cast<float>(random() % 128) - 64;
    switch (random() % 10) {
      case 0:
        v = std::ldexp(whole + 0.5f, -bits);
        break;
      case 1:
        v = std::ldexp(whole, 32 - bits);
        break;
      case 2:
        v = std::ldexp(whole + 0.5f, 31 - bits);
        break;
      case 3:
        v = i % 2 == 0 ? 0.0f : -0.0f;
        break;
      case 4:
        v = i % 2 == 0 ? most : -most;
        break;
      case 5:
        v = whole * std::numeric_limits<float>::denorm_min();
        break;
      default:
        v = std::clamp(std::ldexp(v, static_cast<int>(random() % 88) - 28 - bits), -most, most);
    }
  }
  return values;
}

float Rounded(__int128 quanta, int64_t bits) {
  return std::ldexp(static_cast<float>(static_cast<__float128>(quanta)), -static_cast<int>(bits));
}

// Leaves are added in `order`; what comes of them, read as integers and as the gradient.
void ExpectTheSum(const QuantaRule& rule, const std::vector<std::vector<float>>& leaves,
                  const std::vector<int>& order, int threads) {
  TestBackend backend(threads);
  const auto n = static_cast<int64_t>(leaves[0].size());
  Integers expected(n);
  for (int l : order) {
    for (int64_t i = 0; i < n; ++i) expected[i] += SlowQuanta(leaves[l][i], rule.bits);
  }
  std::vector<std::vector<float>> memory;
  for (int l : order) memory.push_back(leaves[l]);
  LeafSum sum = {.rule = rule, .n = n, .first = memory[0].data()};
  for (size_t l = 1; l < memory.size(); ++l) {
    ASSERT_TRUE(backend->AddLeaf(memory[l].data(), &sum));
    EXPECT_EQ(sum.second, memory[1].data());
  }
  const int64_t from = n / 3;
  std::vector<int64_t> quanta(n - from, 5);
  ASSERT_TRUE(backend->AddQuanta(sum, from, absl::MakeSpan(quanta)));
  for (int64_t i = from; i < n; ++i) ASSERT_TRUE(quanta[i - from] - 5 == expected[i]) << i;
  ASSERT_TRUE(backend->RoundGradient(sum));
  for (int64_t i = 0; i < n; ++i) ASSERT_EQ(memory[0][i], Rounded(expected[i], rule.bits)) << i;
}

TEST(GradientSum, OfLeavesInAnyOrderIsThatOfTheDefinition) {
  for (Isa isa : SupportedIsas()) {
    IsaScope scope(isa);
    for (int64_t bits : {0, 30, 50, 100}) {
      for (int64_t n : {1, 7, 16, 31, 40'001}) {
        SCOPED_TRACE(testing::Message() << Name(isa) << ", " << bits << " bits, " << n << " values");
        const QuantaRule rule = {bits, 5};
        std::vector<std::vector<float>> leaves;
        for (uint32_t l = 0; l < 5; ++l) leaves.push_back(HostileValues(n, rule, l));
        ExpectTheSum(rule, leaves, {0}, 1);
        ExpectTheSum(rule, leaves, {3, 1}, 2);
        ExpectTheSum(rule, leaves, {0, 1, 2, 3, 4}, 3);
        ExpectTheSum(rule, leaves, {4, 2, 0, 3, 1}, 1);
      }
    }
  }
}

TEST(GradientSum, AValueThatCouldWrapOrIsNotFiniteIsOutOfRange) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (Isa isa : SupportedIsas()) {
    IsaScope scope(isa);
    for (int64_t leaves : {1, 3, 8}) {
      const QuantaRule rule = {50, leaves};
      auto least =
          static_cast<float>(4096 / static_cast<double>(leaves));  // the least float of 2^62 / leaves
      if (static_cast<double>(least) * static_cast<double>(leaves) < 4096)
        least = std::nextafter(least, kInfinity);
      for (const auto& [value, in_range] :
           std::vector<std::pair<float, bool>>{{std::nextafter(least, 0.0f), true},
                                               {-std::nextafter(least, 0.0f), true},
                                               {least, false},
                                               {-least, false},
                                               {kInfinity, false},
                                               {-kInfinity, false},
                                               {std::numeric_limits<float>::quiet_NaN(), false},
                                               {-std::numeric_limits<float>::quiet_NaN(), false},
                                               {std::numeric_limits<float>::max(), false}}) {
        SCOPED_TRACE(testing::Message() << Name(isa) << " " << value << " of " << leaves);
        TestBackend backend(2);
        std::vector<float> bad(40'033, 1.0f);
        bad[40'001] = value;
        std::vector<float> good(bad.size(), 1.0f), third = bad;
        const auto n = static_cast<int64_t>(bad.size());
        std::vector<int64_t> quanta(n);
        LeafSum one = {.rule = rule, .n = n, .first = bad.data()};
        EXPECT_EQ(backend->AddQuanta(one, 0, absl::MakeSpan(quanta)), in_range);
        std::vector<float> copy = bad;
        EXPECT_EQ(backend->RoundGradient({.rule = rule, .n = n, .first = copy.data()}), in_range);
        std::vector<float> first = good, second = bad;
        LeafSum sum = {.rule = rule, .n = n, .first = first.data()};
        EXPECT_EQ(backend->AddLeaf(second.data(), &sum), in_range);
        first = bad, second = good;
        sum = {.rule = rule, .n = n, .first = first.data()};
        EXPECT_EQ(backend->AddLeaf(second.data(), &sum), in_range);
        first = good, second = good;
        sum = {.rule = rule, .n = n, .first = first.data()};
        EXPECT_TRUE(backend->AddLeaf(second.data(), &sum));
        EXPECT_EQ(backend->AddLeaf(third.data(), &sum), in_range);
      }
    }
  }
}

TEST(GradientSum, IsRoundedOnceToF32) {
  std::vector<int64_t> quanta = {
      0,
      1,
      -1,
      (int64_t{1} << 24) + 1,                       // a tie
      (int64_t{3} << 24) + 2,                       // a tie
      (int64_t{1} << 60) + (int64_t{1} << 36) + 1,  // a double would make a tie of it
      (int64_t{1} << 62) - 1,
      -((int64_t{1} << 62) - 1)};
  for (Isa isa : SupportedIsas()) {
    IsaScope scope(isa);
    std::vector<float> out(quanta.size());
    FromQuanta(50, quanta, out.data());
    for (size_t i = 0; i < quanta.size(); ++i) EXPECT_EQ(out[i], Rounded(quanta[i], 50)) << i;
  }
}

}  // namespace
}  // namespace temper::kernels
