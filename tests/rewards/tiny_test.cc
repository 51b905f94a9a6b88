// SPDX-License-Identifier: Apache-2.0
#include "gtest/gtest.h"
#include "rewards/answer/accuracy.h"
#include "tests/rewards/samples.h"

namespace temper {
namespace {

Prompt Tiny(const char* text, const char* task, const char* answer) {
  Prompt prompt = Problem(answer, task);
  prompt.text = text;
  return prompt;
}

Prompt Chain() { return Tiny("Q 7 a -3 b *2 c +5 ? <think>", "chain", "3"); }
Prompt FindX() { return Tiny("Q x a *4 b +3 c +5 ? <think>", "find_x", "3"); }

std::string Answer(const char* answer) {
  return absl::StrCat(" 7 a -3 4 </think> <answer> ", answer, " </answer>");
}

TEST(AccuracyOfTinyTasks, ChainHasOneAnswerAndFindXTakesAnyRoot) {
  EXPECT_EQ(Judge(Config("accuracy"), Chain(), Answer("3")).kind, VerdictKind::kCorrect);
  EXPECT_EQ(Judge(Config("accuracy"), FindX(), Answer("3")).kind, VerdictKind::kCorrect);
  EXPECT_EQ(Judge(Config("accuracy"), FindX(), Answer("8")).kind, VerdictKind::kCorrect);
  EXPECT_EQ(Judge(Config("accuracy"), Chain(), Answer("4")).reason, "4 is not 3");
  EXPECT_EQ(Judge(Config("accuracy"), FindX(), Answer("1")).reason, "with x = 1 the chain ends in 2, not 0");
  EXPECT_EQ(Judge(Config("accuracy"), FindX(), Answer("13")).reason, "13 is not one digit");
}

TEST(AccuracyOfTinyTasks, TakesExactlyOneDigit) {
  for (const char* answer :
       {"13", "03", "3.0", "3 8", "x = 3", "\\boxed{3}", "3.", "三", "３", "#### 3", "-7"}) {
    EXPECT_EQ(Judge(Config("accuracy"), Chain(), Answer(answer)).kind, VerdictKind::kWrong) << answer;
    EXPECT_EQ(Judge(Config("accuracy"), FindX(), Answer(answer)).kind, VerdictKind::kWrong) << answer;
  }
  EXPECT_EQ(Judge(Config("accuracy"), Chain(), " 3").kind, VerdictKind::kNoAnswer);
}

TEST(AccuracyOfTinyTasks, LenientlyTakesTheLastDigitOfAnyForm) {
  RuleConfig config = Config("accuracy");
  config.answer.mode = "lenient";
  EXPECT_EQ(Judge(config, FindX(), " 8 a *4 2 b +3 5 c +5 0 ok so 8 .").kind, VerdictKind::kCorrect);
  EXPECT_EQ(Judge(config, FindX(), " so 7 .").kind, VerdictKind::kWrong);
}

TEST(AccuracyOfTinyTasks, AProblemThatIsNoneIsTheDatasetsError) {
  const Prompt prompt = Tiny("What is 7 - 3?", "chain", "4");
  EXPECT_EQ(Rule(Config("accuracy"))->CheckAnswer(prompt).message(),
            "problem p1: its prompt is no chain problem: What is 7 - 3?");
  EXPECT_EQ(Judge(Config("accuracy"), prompt, Answer("4")).kind, VerdictKind::kMalformed);
}

TEST(AccuracyOfTinyTasks, CallsNoHostileTextCorrect) {
  const Prompt prompt = Tiny("Q 7 a +9 b +1 ? <think>", "chain", "7");
  for (const std::string& text : HostileTexts()) {
    EXPECT_NE(Judge(Config("accuracy"), prompt, text).kind, VerdictKind::kCorrect) << text.substr(0, 60);
    EXPECT_NE(Judge(Config("accuracy"), prompt, text).kind, VerdictKind::kInfrastructureError)
        << text.substr(0, 60);
  }
}

}  // namespace
}  // namespace temper
