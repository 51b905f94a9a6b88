// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>

#include "core/check.h"
#include "gmock/gmock.h"
#include "rewards/rules.h"
#include "tests/rewards/samples.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

Verdict Say(const char* rule, VerdictKind kind, double score) {
  Verdict verdict = MakeVerdict(kind, score, "");
  verdict.rule = rule;
  return verdict;
}

RewardConfig Read(const std::string& yaml) {
  RewardConfig config;
  EXPECT_EQ(ReadConfig(yaml, "r.yaml", {}, config).message(), "");
  return config;
}

TEST(RewardOf, SumsWeightTimesScore) {
  const RewardConfig config =
      Read("rules: [{rule: accuracy}, {rule: format, weight: 0.25}, {rule: language, weight: 2}]");
  EXPECT_EQ(RewardOf({Say("accuracy", VerdictKind::kCorrect, 1), Say("format", VerdictKind::kCorrect, 1),
                      Say("language", VerdictKind::kWrong, 0.5)},
                     config),
            2.25);
  EXPECT_EQ(RewardOf({Say("accuracy", VerdictKind::kWrong, 0), Say("format", VerdictKind::kMalformed, 0),
                      Say("language", VerdictKind::kNoAnswer, 0)},
                     config),
            0);
}

TEST(RewardOf, CountsAGatedRuleOnlyWhereItsGateHolds) {
  const RewardConfig config;  // accuracy requires format, format 0.1
  EXPECT_EQ(
      RewardOf({Say("accuracy", VerdictKind::kCorrect, 1), Say("format", VerdictKind::kCorrect, 1)}, config),
      1.1);
  EXPECT_EQ(RewardOf({Say("accuracy", VerdictKind::kCorrect, 1), Say("format", VerdictKind::kMalformed, 0)},
                     config),
            0);
  EXPECT_EQ(
      RewardOf({Say("accuracy", VerdictKind::kWrong, 0), Say("format", VerdictKind::kCorrect, 1)}, config),
      0.1);
}

TEST(RewardOf, AnInfrastructureErrorIsNothingAndATimeoutZero) {
  const RewardConfig config;
  EXPECT_EQ(RewardOf({Say("accuracy", VerdictKind::kInfrastructureError, 0),
                      Say("format", VerdictKind::kCorrect, 1)},
                     config),
            std::nullopt);
  EXPECT_EQ(RewardOf({Say("accuracy", VerdictKind::kCorrect, 1),
                      Say("format", VerdictKind::kInfrastructureError, 0)},
                     config),
            std::nullopt);
  EXPECT_EQ(
      RewardOf({Say("accuracy", VerdictKind::kTimeout, 1), Say("format", VerdictKind::kCorrect, 1)}, config),
      0.1);
}

TEST(RewardOf, TakesAnotherWeightWhereTheRequiredRuleDoesNotHold) {
  // The cosine length reward: the correct fall from 2 to 1 with length, the wrong rise from -10 to 0.
  const RewardConfig config = Read(
      "rules: [{rule: accuracy}, {rule: length, shape: cosine, max_tokens: 9, requires: accuracy, "
      "weight_otherwise: -10}]");
  const auto reward = [&](bool right, double length) {
    return RewardOf({Say("accuracy", right ? VerdictKind::kCorrect : VerdictKind::kWrong, right ? 1 : 0),
                     Say("length", VerdictKind::kCorrect, length)},
                    config);
  };
  EXPECT_EQ(reward(true, 1), 2);
  EXPECT_EQ(reward(true, 0), 1);
  EXPECT_EQ(reward(false, 1), -10);
  EXPECT_EQ(reward(false, 0), 0);
}

TEST(RewardOf, AGateMayAskForAScoreInsteadOfCorrect) {
  const RewardConfig config =
      Read("rules: [{rule: accuracy, requires: language, requires_score: 0.9}, {rule: language, weight: 0}]");
  const auto reward = [&](double share) {
    return RewardOf({Say("accuracy", VerdictKind::kCorrect, 1),
                     Say("language", share == 1 ? VerdictKind::kCorrect : VerdictKind::kWrong, share)},
                    config);
  };
  EXPECT_EQ(reward(1), 1);
  EXPECT_EQ(reward(0.9), 1);
  EXPECT_EQ(reward(0.89), 0);
}

TEST(RewardOf, AnInfrastructureErrorOfAClosedOrWeightlessRuleIsNothingToo) {
  const RewardConfig config = Read("rules: [{rule: accuracy, requires: format}, {rule: format, weight: 0}]");
  EXPECT_EQ(RewardOf({Say("accuracy", VerdictKind::kCorrect, 1),
                      Say("format", VerdictKind::kInfrastructureError, 0)},
                     config),
            std::nullopt);
  EXPECT_EQ(RewardOf({Say("accuracy", VerdictKind::kInfrastructureError, 0),
                      Say("format", VerdictKind::kMalformed, 0)},
                     config),
            std::nullopt);
}

TEST(RewardOf, IsClipped) {
  const RewardConfig config =
      Read("{min: -0.5, max: 1, rules: [{rule: accuracy, weight: 3}, {rule: format, weight: -2}]}");
  EXPECT_EQ(RewardOf({Say("accuracy", VerdictKind::kCorrect, 1), Say("format", VerdictKind::kMalformed, 0)},
                     config),
            1);
  EXPECT_EQ(
      RewardOf({Say("accuracy", VerdictKind::kWrong, 0), Say("format", VerdictKind::kCorrect, 1)}, config),
      -0.5);
}

TEST(RewardOf, WithoutOneOfTheVerdictsIsOurMistake) {
  EXPECT_THROW(RewardOf({Say("accuracy", VerdictKind::kCorrect, 1)}, RewardConfig()), InternalError);
}

TEST(RewardConfig, RefusesOptionsOfOtherRules) {
  RewardConfig config;
  EXPECT_THAT(
      std::string(ReadConfig("rules: [{rule: format, min_words: 3}]", "r.yaml", {}, config).message()),
      HasSubstr("min_words"));
  EXPECT_THAT(std::string(ReadConfig("rules: [{weight: 3}]", "r.yaml", {}, config).message()),
              HasSubstr("rule"));
  EXPECT_THAT(std::string(ReadConfig("{min: 2, max: 1}", "r.yaml", {}, config).message()),
              HasSubstr("is less than min"));
  EXPECT_EQ(Read("rules: [{rule: language, language: zh, min_words: 3}]").rules[0].language.min_words, 3);
}

TEST(MakeRules, NamesTheNearestRule) {
  EXPECT_THAT(std::string(MakeRules(Read("rules: [{rule: acuracy}]")).status().message()),
              HasSubstr("there is no rule acuracy (did you mean accuracy?)"));
}

TEST(MakeRules, RefusesWhatCannotBeMeant) {
  const auto error = [](const char* yaml) { return std::string(MakeRules(Read(yaml)).status().message()); };
  EXPECT_THAT(error("rules: []"), HasSubstr("is empty"));
  EXPECT_THAT(error("rules: [{rule: format}, {rule: format}]"), HasSubstr("has rule format twice"));
  EXPECT_THAT(error("rules: [{rule: format}, {rule: length, name: format, max_tokens: 5}]"),
              HasSubstr("has rule format twice"));
  EXPECT_THAT(error("rules: [{rule: format, name: a/b}]"), HasSubstr("letters, digits, _ and - only"));
  EXPECT_THAT(error("rules: [{rule: format, weight_otherwise: 1}]"), HasSubstr("no `requires`"));
  EXPECT_THAT(error("rules: [{rule: format, requires_score: 1}]"), HasSubstr("no `requires`"));
  EXPECT_THAT(error("rules: [{rule: format, tags: []}]"), HasSubstr("tags is empty"));
  EXPECT_THAT(error("rules: [{rule: format, tags: [\"<a>\"]}]"), HasSubstr("without < and >"));
  EXPECT_THAT(error("rules: [{rule: format, tags: [a, a]}]"), HasSubstr("tag a twice"));
  EXPECT_THAT(error("rules: [{rule: length, max_tokens: 5, shape: square}]"),
              HasSubstr("overlong or cosine"));
  EXPECT_THAT(error("rules: [{rule: accuracy, requires: format}]"), HasSubstr("accuracy requires format"));
  EXPECT_THAT(error("rules: [{rule: accuracy, requires: accuracy}]"), HasSubstr("another rule"));
  EXPECT_THAT(error("rules: [{rule: accuracy, mode: loose}]"), HasSubstr("strict or lenient"));
  EXPECT_THAT(error("rules: [{rule: language, language: french}]"), HasSubstr("there is no language french"));
  EXPECT_THAT(error("rules: [{rule: length}]"), HasSubstr("set max_tokens"));
}

TEST(MakeRules, KeepsTheConfigsOrder) {
  const auto rules = MakeRules(Read("rules: [{rule: format}, {rule: accuracy}]"));
  ASSERT_TRUE(rules.ok());
  EXPECT_EQ((*rules)[0]->name(), "format");
  EXPECT_EQ((*rules)[1]->name(), "accuracy");
}

TEST(MakeRules, TakesARuleTwiceUnderTwoNames) {
  const RewardConfig config = Read(
      "rules: [{rule: format}, {rule: format, name: summary, tags: [think], text_after: true, requires: "
      "format}]");
  const auto rules = MakeRules(config);
  ASSERT_TRUE(rules.ok()) << rules.status().message();
  EXPECT_EQ((*rules)[0]->name(), "format");
  EXPECT_EQ((*rules)[1]->name(), "summary");
  const Prompt prompt = Problem("1");
  const Completion completion{.prompt = &prompt, .text = "x </think> It is one."};
  EXPECT_EQ(JudgeSafely(*(*rules)[0], completion).kind, VerdictKind::kMalformed);
  const Verdict summary = JudgeSafely(*(*rules)[1], completion);
  EXPECT_EQ(summary.kind, VerdictKind::kCorrect);
  EXPECT_EQ(summary.rule, "summary");
}

class Throws : public Reward {
 public:
  const std::string& name() const override { return name_; }
  Verdict Judge(const Completion& completion) const override {
    if (completion.text == "int") throw 5;
    throw std::runtime_error("disk\nfull");
  }
  const std::string name_ = "throws";
};

TEST(JudgeSafely, TurnsAnExceptionIntoAnInfrastructureErrorWithItsMessage) {
  const Prompt prompt = Problem("1");
  Completion completion;
  completion.prompt = &prompt;
  const Verdict verdict = JudgeSafely(Throws(), completion);
  EXPECT_EQ(verdict.kind, VerdictKind::kInfrastructureError);
  EXPECT_EQ(verdict.rule, "throws");
  EXPECT_EQ(verdict.reason, "disk\\x0afull");
  completion.text = "int";
  EXPECT_EQ(JudgeSafely(Throws(), completion).kind, VerdictKind::kInfrastructureError);
}

}  // namespace
}  // namespace temper
