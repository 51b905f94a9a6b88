// SPDX-License-Identifier: Apache-2.0
#include "rewards/reward.h"

#include <stdexcept>

#include "core/check.h"
#include "gmock/gmock.h"
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
  EXPECT_EQ(Read("rules: [{rule: language, language: zh, min_words: 3}]").rules[0].min_words, 3);
}

TEST(MakeRules, NamesTheNearestRule) {
  EXPECT_THAT(std::string(MakeRules(Read("rules: [{rule: acuracy}]")).status().message()),
              HasSubstr("there is no rule acuracy (did you mean accuracy?)"));
}

TEST(MakeRules, RefusesWhatCannotBeMeant) {
  const auto error = [](const char* yaml) { return std::string(MakeRules(Read(yaml)).status().message()); };
  EXPECT_THAT(error("rules: []"), HasSubstr("is empty"));
  EXPECT_THAT(error("rules: [{rule: format}, {rule: format}]"), HasSubstr("has rule format twice"));
  EXPECT_THAT(error("rules: [{rule: accuracy, requires: format}]"), HasSubstr("accuracy requires format"));
  EXPECT_THAT(error("rules: [{rule: accuracy, requires: accuracy}]"), HasSubstr("another rule"));
  EXPECT_THAT(error("rules: [{rule: accuracy, mode: loose}]"), HasSubstr("strict or lenient"));
  EXPECT_THAT(error("rules: [{rule: language, language: fr}]"),
              HasSubstr("fr cannot be told from its words' script"));
  EXPECT_THAT(error("rules: [{rule: length}]"), HasSubstr("set max_tokens"));
}

TEST(MakeRules, KeepsTheConfigsOrder) {
  const auto rules = MakeRules(Read("rules: [{rule: format}, {rule: accuracy}]"));
  ASSERT_TRUE(rules.ok());
  EXPECT_EQ((*rules)[0]->name(), "format");
  EXPECT_EQ((*rules)[1]->name(), "accuracy");
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
