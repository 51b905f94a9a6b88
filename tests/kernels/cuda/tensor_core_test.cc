// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "kernels/cuda/device.h"
#include "tests/kernels/cuda/hostile.h"

namespace temper::kernels::sim {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

uint16_t Half(float x) { return static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16); }

struct Operands {
  uint16_t a[16] = {}, b[16] = {};
};
// Of one pair, or of some.
Operands Pairs(const std::vector<std::pair<float, float>>& pairs) {
  Operands o;
  for (size_t k = 0; k < pairs.size(); ++k) {
    o.a[k] = Half(pairs[k].first);
    o.b[k] = Half(pairs[k].second);
  }
  return o;
}
float Dot(const std::vector<std::pair<float, float>>& pairs, float c) {
  const Operands o = Pairs(pairs);
  return FusedDot(o.a, o.b, c);
}

// ../shared/cases/tensor_core/README.md has where they are from.
TEST(TensorCore, AnswersAsAnH100AndAnH200Did) {
  std::ifstream rows("../shared/cases/tensor_core/bf16.txt");
  if (!rows) GTEST_SKIP() << "no ../shared/cases/tensor_core/bf16.txt";
  int64_t count = 0, unequal = 0;
  for (std::string a, b, numbers[4];
       rows >> a >> b >> numbers[0] >> numbers[1] >> numbers[2] >> numbers[3];) {
    Operands o;
    for (int k = 0; k < 16; ++k) {
      o.a[k] = static_cast<uint16_t>(std::stoul(a.substr(4 * k, 4), nullptr, 16));
      o.b[k] = static_cast<uint16_t>(std::stoul(b.substr(4 * k, 4), nullptr, 16));
    }
    for (int card = 0; card < 2; ++card) {
      const auto c = static_cast<uint32_t>(std::stoul(numbers[2 * card], nullptr, 16));
      const auto d = static_cast<uint32_t>(std::stoul(numbers[2 * card + 1], nullptr, 16));
      ++count;
      unequal += std::bit_cast<uint32_t>(FusedDot(o.a, o.b, std::bit_cast<float>(c))) != d;
    }
  }
  EXPECT_EQ(count, 10000);
  EXPECT_EQ(unequal, 0);
}

TEST(TensorCore, CutsTowardZeroWhereAnFmaWouldRound) {
  EXPECT_EQ(Dot({{1.0f, 0x1p-25f}}, 1.0f), 1.0f);
  EXPECT_EQ(Dot({{1.0f, -0x1p-24f}}, 1.0f), 1.0f - 0x1p-24f);
  // Two that are lost alone are kept together, in two more bits than an f32 has.
  EXPECT_EQ(Dot({{1.0f, 0x1p-24f}, {1.0f, 0x1p-24f}}, 1.0f), 1.0f + 0x1p-23f);
  EXPECT_EQ(Dot({{1.0f, 0x1p-26f}, {1.0f, 0x1p-26f}}, 1.0f), 1.0f);
  EXPECT_EQ(Dot({{1.0f, -0x1p-26f}}, 1.0f), 1.0f) << "cut before the sum, not after it";
  // A product of two numbers of almost 2 counts as one of 1 for where it is cut.
  EXPECT_EQ(Dot({{1.5f, 1.5f}, {-1.5f, 1.5f}, {0x1p-25f, 1.0f}}, 0.0f), 0x1p-25f);
}

TEST(TensorCore, SumsOfWhatIsNotFiniteTooLargeOrVerySmall) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), huge = 0x1p127f, least = 0x1p-149f;
  EXPECT_EQ(std::bit_cast<uint32_t>(Dot({{nan, 0.0f}}, 1.0f)), 0x7fffffffu);
  EXPECT_EQ(std::bit_cast<uint32_t>(Dot({{kInfinity, 0.0f}}, 1.0f)), 0x7fffffffu);
  EXPECT_EQ(std::bit_cast<uint32_t>(Dot({{kInfinity, 1.0f}}, -kInfinity)), 0x7fffffffu);
  EXPECT_EQ(Dot({{kInfinity, -1.0f}}, huge), -kInfinity);
  EXPECT_EQ(Dot({{huge, 1.0f}}, huge), kInfinity);
  EXPECT_EQ(Dot({{huge, -1.0f}, {huge, -1.0f}}, huge), -huge);
  EXPECT_EQ(std::bit_cast<uint32_t>(Dot({{-1.0f, 1.0f}}, 1.0f)), 0u);
  EXPECT_EQ(std::bit_cast<uint32_t>(Dot({}, -0.0f)), 0u);
  EXPECT_EQ(Dot({}, least), least) << "what is not normal is not flushed";
  EXPECT_EQ(Dot({{0x1p-126f, 0x1p-23f}}, -3 * least), -2 * least);
  EXPECT_EQ(Dot({{0x1p-133f, 1.0f}}, 0.0f), 0x1p-133f) << "nor of bf16";
}

// c[16 m][8 n] of K steps from a [16 m][K] and b [8 n][K]: a block has one piece, which is one warp's.
constexpr int kSteps32 = 32;
struct MmaKernel {
  static constexpr int kThreads = 64, kBlocks = 1;
  struct Args {
    Global<const uint16_t> a, b;
    Global<float> c;
  };
  static uint32_t Two(const Global<const uint16_t>& from, int64_t i) {
    return from.At(i) | static_cast<uint32_t>(from.At(i + 1)) << 16;
  }
  static void Run(const Args& args) {
    const int tile = 2 * Block() + Warp();
    Floats<4> c = {};
    for (int step = 0; step < kSteps32; step += 16) {
      uint32_t a[4], b[2];
      for (int i = 0; i < 4; ++i)
        a[i] = Two(args.a, (int64_t{tile} * 16 + MmaRow(i)) * kSteps32 + step + MmaStep(i));
      for (int i = 0; i < 2; ++i)
        b[i] = Two(args.b, (int64_t{tile} * 8 + MmaColumn()) * kSteps32 + step + MmaStep(2 * i));
      Mma(c, a, b);
    }
    for (int i = 0; i < 4; ++i)
      args.c.Put((int64_t{tile} * 16 + MmaRow(i / 2)) * 8 + MmaStep(0) + i % 2, c[i]);
  }
};

TEST(TensorCore, AWarpsStepsAreTheChainOfTheirDots) {
  constexpr int kTiles = 4;
  std::vector<uint16_t> a, b;
  for (const float x : Numbers(kTiles * 16 * kSteps32, 1)) a.push_back(Half(x));
  for (const float x : Numbers(kTiles * 8 * kSteps32, 2)) b.push_back(Half(x));
  std::vector<float> expected, c(kTiles * 16 * 8);
  for (int row = 0; row < kTiles * 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float sum = 0;
      for (int step = 0; step < kSteps32; step += 16) {
        Operands o;
        for (int k = 0; k < 16; ++k) {
          o.a[k] = a[row * kSteps32 + step + k];
          o.b[k] = b[(row / 16 * 8 + column) * kSteps32 + step + k];
        }
        sum = FusedDot(o.a, o.b, sum);
      }
      expected.push_back(sum);
    }
  }
  UnderHostileStreams(
      [&](Stream& stream) {
        std::fill(c.begin(), c.end(), 7.0f);
        Launch<MmaKernel>(stream, kTiles / 2,
                          {.a = {a.data(), static_cast<int64_t>(a.size())},
                           .b = {b.data(), static_cast<int64_t>(b.size())},
                           .c = {c.data(), static_cast<int64_t>(c.size())}});
      },
      [&] { EXPECT_EQ(Differences(c, expected), 0); });
}

}  // namespace
}  // namespace temper::kernels::sim
