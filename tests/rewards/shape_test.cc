// SPDX-License-Identifier: Apache-2.0
#include "rewards/shape.h"

#include "tests/rewards/samples.h"

namespace temper {
namespace {

TEST(Length, FallsOnALineOverTheSlack) {
  RuleConfig config = Config("length");
  config.max_tokens = 100;
  config.slack_tokens = 20;
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

TEST(Repetition, IsTheShareOfDifferentNGrams) {
  RuleConfig config = Config("repetition");
  config.ngram = 2;
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
