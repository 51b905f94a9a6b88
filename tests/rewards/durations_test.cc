// SPDX-License-Identifier: Apache-2.0
#include "rewards/durations.h"

#include "gtest/gtest.h"

namespace temper {
namespace {

TEST(Durations, AreToldByPercentileToAFactorOfTheBins) {
  Durations durations;
  // 1 ms .. 1000 ms: the 500th is 0.5 s, the 990th 0.99 s.
  for (int i = 1000; i >= 1; --i) durations.Add(1e-3 * i);
  for (const auto& [share, exact] : {std::pair(0.5, 0.5), std::pair(0.99, 0.99), std::pair(0.001, 0.001)}) {
    EXPECT_GE(durations.Quantile(share), exact);
    EXPECT_LE(durations.Quantile(share), 1.2 * exact * (1 + 1e-9));
  }
}

TEST(Durations, OfTwoTheMedianIsTheShorterAndTheLastPercentTheLonger) {
  Durations durations;
  durations.Add(0.010);
  durations.Add(7.0);
  EXPECT_GE(durations.Quantile(0.5), 0.010);
  EXPECT_LT(durations.Quantile(0.5), 0.0121);
  EXPECT_GE(durations.Quantile(0.99), 7.0);
  EXPECT_LT(durations.Quantile(0.99), 8.5);
}

TEST(Durations, AtTheEndsStayInTheirBins) {
  Durations none;
  EXPECT_EQ(none.Quantile(0.5), 0);
  Durations ends;
  ends.Add(0);
  EXPECT_EQ(ends.Quantile(1), 1e-6);
  ends.Add(1e9);
  EXPECT_NEAR(ends.Quantile(1), 1e-6 * std::pow(1.2, 128), 1);
}

}  // namespace
}  // namespace temper
