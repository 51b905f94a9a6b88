// SPDX-License-Identifier: Apache-2.0
#include "rewards/text/shape.h"

#include <cmath>

#include "tests/rewards/samples.h"

namespace temper {
namespace {

TEST(Length, FallsOnALineOverTheSlack) {
  RuleConfig config = Config("length");
  config.length.max_tokens = 100;
  config.length.slack_tokens = 20;
  const auto rule = Rule(config);
  const Prompt prompt = Problem("1");
  const auto score = [&](int64_t tokens) {
    Completion completion;
    completion.prompt = &prompt;
    completion.tokens = tokens;
    return rule->Judge(completion).score;
  };
  EXPECT_EQ(score(0), 1);
  EXPECT_EQ(score(80), 1);
  EXPECT_EQ(score(90), 0.5);
  EXPECT_EQ(score(100), 0);
  EXPECT_EQ(score(1000), 0);
}

TEST(Length, OfShapeCosineIsHalfAWave) {
  RuleConfig config = Config("length");
  config.length.max_tokens = 100;
  config.length.shape = "cosine";
  const auto rule = Rule(config);
  const Prompt prompt = Problem("1");
  const auto judge = [&](int64_t tokens) {
    return rule->Judge({.prompt = &prompt, .text = "", .tokens = tokens});
  };
  EXPECT_EQ(judge(0).score, 1);
  EXPECT_NEAR(judge(25).score, (1 + std::sqrt(0.5)) / 2, 1e-12);
  EXPECT_NEAR(judge(50).score, 0.5, 1e-12);
  EXPECT_EQ(judge(100).score, 0);
  EXPECT_EQ(judge(1000).score, 0);
  EXPECT_EQ(judge(99).kind, VerdictKind::kCorrect);
  EXPECT_EQ(judge(100).kind, VerdictKind::kWrong);
}

TEST(Repetition, CountsEachCharacterOfScriptsWithoutSpaces) {
  RuleConfig config = Config("repetition");
  config.repetition.ngram = 2;
  EXPECT_EQ(Judge(config, Problem("1"), "等等等等等").score, 0.25);
  EXPECT_EQ(Judge(config, Problem("1"), "我们再想一想").score, 1);
  EXPECT_EQ(Judge(config, Problem("1"), "ab等ab等ab").score, 0.5);
}

TEST(Repetition, IsTheShareOfDifferentNGrams) {
  RuleConfig config = Config("repetition");
  config.repetition.ngram = 2;
  const auto score = [&](std::string_view text) { return Judge(config, Problem("1"), text).score; };
  EXPECT_EQ(score("a b c d"), 1);
  EXPECT_EQ(score("a b a b a"), 0.5);
  EXPECT_EQ(score("a a a a a"), 0.25);
  EXPECT_EQ(score("a"), 1);
  EXPECT_EQ(score(""), 1);
}

TEST(Repetition, JudgesHostileBytes) {
  for (const std::string& text : HostileTexts()) {
    EXPECT_NE(Judge(Config("repetition"), Problem("1"), text).kind, VerdictKind::kInfrastructureError);
  }
}

}  // namespace
}  // namespace temper
