// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/advantage.h"

#include <cmath>

#include "gtest/gtest.h"

namespace temper {
namespace {

using Group = std::vector<std::optional<double>>;

TEST(Advantage, IsTheDistanceFromTheMeanInPopulationDeviations) {
  // The mean is 2.
  const Group rewards = {1.0, 3.0, -1.0, 5.0, 2.0};
  const double deviation = std::sqrt((1.0 + 1.0 + 9.0 + 9.0 + 0.0) / 5);
  const std::vector<double> expected = {-1 / (deviation + 1e-4), 1 / (deviation + 1e-4),
                                        -3 / (deviation + 1e-4), 3 / (deviation + 1e-4), 0};
  EXPECT_EQ(GroupAdvantages(rewards, {}), expected);
}

TEST(Advantage, WithoutTheDeviationIsTheDistanceFromTheMean) {
  EXPECT_EQ(GroupAdvantages(Group{1.0, 0.0, 0.0, 1.0}, {.divide_by_std = false}),
            (std::vector<double>{0.5, -0.5, -0.5, 0.5}));
}

TEST(Advantage, OfASampleWithoutRewardIsZeroAndTheOthersAreAsIfItWereNotThere) {
  const std::vector<double> with = GroupAdvantages(Group{1.0, std::nullopt, 0.25, std::nullopt, 0.0}, {});
  const std::vector<double> without = GroupAdvantages(Group{1.0, 0.25, 0.0}, {});
  EXPECT_EQ(with, (std::vector<double>{without[0], 0, without[1], 0, without[2]}));
}

TEST(Advantage, OfAGroupWithoutSpreadIsExactlyZero) {
  // The mean of three times 0.1 is not 0.1 in f64, so subtracting would leave something to divide.
  for (const Group& group : {Group{0.1, 0.1, 0.1}, Group{1.0, std::nullopt}, Group{std::nullopt}, Group{}}) {
    EXPECT_FALSE(HasSpread(group));
    EXPECT_EQ(GroupAdvantages(group, {.epsilon = 0}), std::vector<double>(group.size(), 0.0));
  }
  EXPECT_TRUE(HasSpread(Group{std::nullopt, 0.1, 0.1, 0.2}));
}

TEST(Advantage, OfAlmostEqualRewardsIsHeldBackByEpsilon) {
  const std::vector<double> advantages = GroupAdvantages(Group{0.0, 1e-9}, {.epsilon = 1e-4});
  EXPECT_LT(std::abs(advantages[0]), 1e-5);
}

}  // namespace
}  // namespace temper
