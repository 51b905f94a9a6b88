// SPDX-License-Identifier: Apache-2.0
#include "rewards/statistics.h"

#include <cmath>

#include "core/check.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

// The share of all k-subsets of n samples (the first c right) that have a right one.
double SlowPassAtK(int n, int c, int k) {
  int64_t all = 0, right = 0;
  for (uint32_t subset = 0; subset < (1u << n); ++subset) {
    if (__builtin_popcount(subset) != k) continue;
    ++all;
    right += (subset & ((1u << c) - 1)) != 0;
  }
  return static_cast<double>(right) / static_cast<double>(all);
}

Outcome Sample(std::string key, bool correct, int64_t tokens = 10) {
  Outcome outcome;
  outcome.key = std::move(key);
  outcome.correct = correct;
  outcome.correct_lenient = correct;
  outcome.tokens = tokens;
  return outcome;
}

TEST(PassAtK, IsTheShareOfSubsetsWithARightSample) {
  for (int n = 1; n <= 10; ++n) {
    for (int c = 0; c <= n; ++c) {
      for (int k = 1; k <= n; ++k) EXPECT_NEAR(PassAtK(n, c, k), SlowPassAtK(n, c, k), 1e-14) << n << c << k;
    }
  }
}

TEST(PassAtK, StaysAChanceForManySamples) {
  EXPECT_NEAR(PassAtK(100000, 1, 50000), 0.5, 1e-9);
  EXPECT_EQ(PassAtK(100000, 0, 100000), 0);
  EXPECT_EQ(PassAtK(100000, 100000, 1), 1);
  EXPECT_THROW(PassAtK(4, 5, 1), InternalError);
  EXPECT_THROW(PassAtK(4, 1, 5), InternalError);
}

TEST(Consensus, IsTheMostFrequentAnswer) {
  EXPECT_TRUE(Consensus({Sample("1", false), Sample("2", true), Sample("2", true)}));
  EXPECT_FALSE(Consensus({Sample("1", false), Sample("2", true), Sample("1", false)}));
}

TEST(Consensus, OfATieIsTheAnswerSeenFirst) {
  EXPECT_TRUE(Consensus({Sample("2", true), Sample("1", false), Sample("1", false), Sample("2", true)}));
  EXPECT_FALSE(Consensus({Sample("1", false), Sample("2", true)}));
}

TEST(Consensus, LeavesOutSamplesWithoutAnAnswer) {
  EXPECT_TRUE(Consensus({Sample("", false), Sample("", false), Sample("2", true)}));
  EXPECT_FALSE(Consensus({Sample("", false)}));
  EXPECT_FALSE(Consensus({}));
}

TEST(Quantile, IsLinearBetweenOrderStatistics) {
  EXPECT_EQ(Quantile({3, 1, 2}, 0.5), 2);
  EXPECT_EQ(Quantile({1, 2}, 0.5), 1.5);
  EXPECT_EQ(Quantile({5, 1}, 0), 1);
  EXPECT_EQ(Quantile({5, 1}, 1), 5);
  EXPECT_EQ(Quantile({}, 0.5), 0);
}

TEST(LooksBack, FindsWholeWordsOnly) {
  for (const char* text :
       {"7 a wait 3", "Wait, no", "WAIT", "so let me  x. Hmm", "let me verify that", "嗯，等一下", "check"}) {
    EXPECT_TRUE(LooksBack(text)) << text;
  }
  for (const char* text : {"", "await it", "waiter", "checked", "against", "let me see", "wait1"}) {
    EXPECT_FALSE(LooksBack(text)) << text;
  }
  EXPECT_TRUE(LooksBack("oops", {"oops"}));
  EXPECT_FALSE(LooksBack("wait", {"oops"}));
}

TEST(Evaluate, TakesMeansOverProblems) {
  Outcomes outcomes = {{Sample("1", true, 10), Sample("2", false, 20)},
                       {Sample("", false, 30), Sample("3", false, 40)},
                       {Sample("4", true, 50), Sample("4", true, 60)}};
  outcomes[1][0].checks = true;
  outcomes[1][1].cut = true;
  outcomes[1][1].correct_lenient = true;
  const Statistics figures = Evaluate(outcomes);
  EXPECT_EQ(figures.problems, 3);
  EXPECT_EQ(figures.samples, 6);
  EXPECT_EQ(figures.k, 2);
  EXPECT_EQ(figures.pass_1, 0.5);
  EXPECT_NEAR(figures.pass_1_error, std::sqrt(0.25 / 3), 1e-15);
  EXPECT_EQ(figures.pass_1_lenient, 2.0 / 3);
  EXPECT_EQ(figures.pass_k, 2.0 / 3);
  EXPECT_EQ(figures.cons_k, 2.0 / 3);
  EXPECT_EQ(figures.checks, 1.0 / 6);
  EXPECT_EQ(figures.cut, 1.0 / 6);
  EXPECT_EQ(figures.length_mean, 35);
  EXPECT_EQ(figures.length_p50, 35);
  EXPECT_EQ(figures.length_p10, 15);
  EXPECT_EQ(figures.length_p90, 55);
  EXPECT_EQ(Evaluate({}).problems, 0);
}

}  // namespace
}  // namespace temper
