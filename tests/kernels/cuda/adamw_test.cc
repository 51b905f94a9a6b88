// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/adamw.h"

#include <limits>

#include "tests/kernels/cuda/hostile.h"

namespace temper::kernels {
namespace {

// A tensor and its moments, from an element on that is aligned, or not.
struct Stepped {
  Stepped(int64_t n, int64_t from) : count(n), first(from) {
    for (uint32_t i = 0; i < 4; ++i) data[i] = Numbers(n + from, 1 + i);
    for (float& v : data[3]) v = v * v;
  }
  AdamWTask task(int64_t step) {
    return {.step = {.learning_rate = 0.01f, .weight_decay = 0.1f, .step = step, .gradient_scale = 0.7f},
            .n = count,
            .gradient = data[0].data() + first,
            .weight = data[1].data() + first,
            .m = data[2].data() + first,
            .v = data[3].data() + first};
  }

  int64_t count, first;
  std::vector<float> data[4];
};

TEST(SimulatedAdamW, StepsAndWhatTheySayAreTheCpus) {
  TestBackend cpu(1);
  const float infinity = std::numeric_limits<float>::infinity();
  for (const auto& [n, first, bad] :
       {std::tuple(1, 0, 0.0f), std::tuple(711, 1, 0.0f), std::tuple(4100, 0, 0.0f),
        std::tuple(9000, 3, infinity), std::tuple(8192, 4, std::nanf(""))}) {
    Stepped before(n, first);
    if (bad != 0) before.data[0][first + n / 2] = bad;
    before.data[1][first] = -1000;
    Stepped expected = before, after = before;
    const AdamWOutcome outcome = cpu->AdamW(expected.task(3));
    uint32_t words[2];
    UnderHostileStreams(
        [&](sim::Stream& stream) {
          after = before;
          words[0] = words[1] = 0;
          sim::AdamW(after.task(3), words, stream);
        },
        [&] {
          for (int i = 0; i < 4; ++i) EXPECT_EQ(Differences(after.data[i], expected.data[i]), 0) << n;
          EXPECT_EQ(words[0] == 0, outcome.finite) << n;
          EXPECT_TRUE(SameBits(std::bit_cast<float>(words[1]), outcome.largest)) << n;
        });
  }
}

TEST(SimulatedAdamW, LargestAndSumOfSquaresAreTheCpus) {
  TestBackend cpu(1);
  for (const int64_t n : {0, 1, 711, 65536, 2 * 65536 + 100}) {
    for (const int64_t first : {0, 1}) {
      if (first == 1 && n > 711) continue;
      std::vector<float> x = Numbers(n + first, 1);
      if (n > 700) x[n / 2] = std::nanf("");
      const float* const from = x.data() + first;
      const float largest = cpu->Largest(from, n);
      if (n > 700) x[n / 2] = -3;
      const double squares = cpu->SumOfSquares(from, n);
      std::vector<double> sums(PiecesOfSquares(n) + 1);
      uint32_t words[2];
      UnderHostileStreams(
          [&](sim::Stream& stream) {
            words[0] = words[1] = 0;
            sums[0] = -1;
            sim::SumOfSquares({from, n, sums.data()}, stream);
            if (n > 700) x[n / 2] = std::nanf("");
            sim::Largest({from, n, words}, stream);
            if (n > 700) x[n / 2] = -3;
          },
          [&] {
            EXPECT_EQ(std::bit_cast<uint64_t>(sums[0]), std::bit_cast<uint64_t>(squares)) << n;
            EXPECT_TRUE(SameBits(std::bit_cast<float>(words[1]), largest)) << n;
          });
    }
  }
}

}  // namespace
}  // namespace temper::kernels
