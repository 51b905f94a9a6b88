// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/math.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rewards/math/answer.h"
#include "rewards/math/string.h"

namespace temper::math {
namespace {

using testing::HasSubstr;

Verdict Judge(const std::string& text, const std::string& gold, const std::string& mode = "math_verify",
              bool raw = false) {
  Options config;
  config.mode = mode;
  Prompt prompt;
  prompt.answer = gold;
  return JudgeSafely(*MakeRule(config).value(), {.prompt = &prompt, .text = text, .raw = raw});
}

bool Right(const std::string& text, const std::string& gold, const std::string& mode = "math_verify") {
  return Judge(text, gold, mode, true).kind == VerdictKind::kCorrect;
}

TEST(MathRule, TakesTheAnswerBehindTheThinking) {
  EXPECT_EQ(Judge("2 </think> <answer> 4 </answer>", "4").kind, VerdictKind::kCorrect);
  EXPECT_EQ(Judge("is it \\boxed{4}? </think> It is \\boxed{5}.", "4").kind, VerdictKind::kWrong);
  EXPECT_EQ(Judge("\\boxed{4} </think> no idea", "4").kind, VerdictKind::kWrong);
  EXPECT_EQ(Judge("\\boxed{4} </think>", "4").kind, VerdictKind::kNoAnswer);
  EXPECT_EQ(Judge("<think> it is \\boxed{4}", "4").kind, VerdictKind::kNoAnswer);
  EXPECT_EQ(Judge("It is \\boxed{4}.", "4").kind, VerdictKind::kCorrect);  // never began to think
  EXPECT_EQ(Judge("</think> <answer>4</answer> <answer>5</answer>", "4").kind, VerdictKind::kMalformed);
  EXPECT_EQ(Judge("</think> </answer>4<answer>", "4").kind, VerdictKind::kMalformed);
  EXPECT_EQ(Judge("</think> <answer>\\boxed{\\frac{2}{4}}</answer>", "0.5").extracted, "\\frac{2}{4}");
}

TEST(MathRule, TakesOneAnswerSoThatHedgingDoesNotPay) {
  EXPECT_FALSE(Right("\\boxed{3} or \\boxed{4}", "4"));
  EXPECT_FALSE(Right("\\boxed{4}. No: \\boxed{3}", "4"));
  EXPECT_FALSE(Right("The answer is 4 or 5", "4"));
  EXPECT_FALSE(Right("$3$ or $4$", "4"));
  EXPECT_FALSE(Right("\\boxed{x}", "4"));
  EXPECT_FALSE(Right("\\boxed{}", "4"));
  EXPECT_TRUE(Right("\\boxed{3} and \\boxed{4}", "\\{3, 4\\}"));
}

TEST(MathRule, ReadsTheFormsInWhichAnswersAreGiven) {
  for (const char* text :
       {"12", "= 12", "x = 12", "The answer is 12.", "Final answer: 12", "#### 12", "答案是 12。",
        "So we get $3 \\cdot 4 = 12$.", "It is 3 * 4 = 12", "\\[ 12 \\]", "**12**", "\\boxed 12",
        "The final answer is $12$. I hope it is correct.", "There are 12 of them in the house."}) {
    EXPECT_TRUE(Right(text, "12")) << text << " | " << FindMathAnswer(text).text;
  }
  EXPECT_TRUE(Right("We need \\begin{pmatrix} 1 & 2 \\end{pmatrix}", "$\\begin{pmatrix}1&2\\end{pmatrix}$"));
  EXPECT_FALSE(Right("room AB12C is mine", "12"));
}

TEST(MathRule, DecidesByItsMode) {
  EXPECT_TRUE(Right("\\frac{2}{4}", "1/2"));
  EXPECT_FALSE(Right("\\frac{2}{4}", "1/2", "strict"));
  EXPECT_FALSE(Right("\\frac{2}{4}", "1/2", "string"));
  EXPECT_TRUE(Right("\\boxed{2, 1}", "1, 2"));
  EXPECT_FALSE(Right("\\boxed{2, 1}", "1, 2", "strict"));
  EXPECT_TRUE(Right("\\dfrac12", "\\frac{1}{2}", "string"));
  Options config;
  config.mode = "loose";
  EXPECT_THAT(std::string(MakeRule(config).status().message()), HasSubstr("math_verify, strict, string"));
}

TEST(MathRule, TakesMathVerifysOptions) {
  const auto right = [](const Options& config, const std::string& gold, const std::string& text) {
    Prompt prompt;
    prompt.answer = gold;
    return JudgeSafely(*MakeRule(config).value(), {.prompt = &prompt, .text = text, .raw = true}).kind ==
           VerdictKind::kCorrect;
  };
  Options config;
  EXPECT_FALSE(right(config, "\\frac{8}{3}", "2.67"));
  EXPECT_FALSE(right(config, "[-2, 7]", "-2 \\le x \\le 7"));
  config.float_rounding = 2;
  EXPECT_TRUE(right(config, "\\frac{8}{3}", "2.67"));
  EXPECT_FALSE(right(config, "\\frac{8}{3}", "2.66"));
  config.allow_set_relation_comp = true;
  EXPECT_TRUE(right(config, "[-2, 7]", "-2 \\le x \\le 7"));
  EXPECT_FALSE(right(config, "[-2, 7]", "-2 < x \\le 7"));
}

TEST(MathRule, JudgesEachCompletionByItsOwnReference) {
  const std::unique_ptr<Reward> rule = MakeRule({}).value();
  for (const char* gold : {"1", "2", "2", "\\frac{", "2", "1"}) {
    Prompt prompt;
    prompt.answer = gold;
    const Verdict verdict = rule->Judge({.prompt = &prompt, .text = "2", .raw = true});
    EXPECT_EQ(verdict.kind, *gold == '2'   ? VerdictKind::kCorrect
                            : *gold == '1' ? VerdictKind::kWrong
                                           : VerdictKind::kMalformed)
        << gold;
  }
}

TEST(MathRule, NamesAReferenceThatCannotBeRead) {
  Prompt prompt;
  const std::unique_ptr<Reward> rule = MakeRule({}).value();
  for (const char* bad : {"", " ", "\\frac{1}{", "\\begin{pmatrix} 1", "1/0", "\\frac{5}{0}",
                          "\\infty - \\infty", "12 apples 30", "5 tenths", "\\boxed{}", "\\boxed{7"}) {
    prompt.answer = bad;
    EXPECT_THAT(std::string(rule->CheckAnswer(prompt).message()), HasSubstr("reference answer")) << bad;
    for (const std::string text : {"1", "\\boxed{1}", bad}) {
      const Verdict verdict = rule->Judge({.prompt = &prompt, .text = text, .raw = true});
      EXPECT_EQ(verdict.kind, VerdictKind::kMalformed) << bad;
      EXPECT_THAT(verdict.reason, HasSubstr("the reference answer cannot be read")) << bad;
    }
  }
  prompt.answer = "so \\boxed{\\sqrt 2}";
  EXPECT_TRUE(rule->CheckAnswer(prompt).ok());
}

TEST(MathRule, SaysThatItCouldNotDecide) {
  const Verdict verdict = Judge("9^{9^{9^9}}", "9^{9^{9^{9}}} + 1", "math_verify", true);
  EXPECT_EQ(verdict.kind, VerdictKind::kWrong);
  EXPECT_THAT(verdict.reason, HasSubstr("undecided"));
}

TEST(MathRule, TakesAnyBytesInBoundedTime) {
  const std::string parts[] = {"$",    "\\boxed{",           "{", "\\(", "answer is ", "1", "\\frac",
                               "\xFF", std::string(1, '\0'), "\\"};
  for (const std::string& part : parts) {
    std::string text;
    while (text.size() < 2'000'000) text += part;
    EXPECT_NE(Judge(text, "7", "math_verify", true).kind, VerdictKind::kCorrect);
  }
}

TEST(MathString, IsHendrycksNormalForm) {
  const std::pair<const char*, const char*> cases[] = {{"\\dfrac{1}{2}", "\\frac{1}{2}"},
                                                       {"\\frac12", "\\frac{1}{2}"},
                                                       {"\\frac1{72}", "\\frac{1}{72}"},
                                                       {"3/4", "\\frac{3}{4}"},
                                                       {"\\sqrt3", "\\sqrt{3}"},
                                                       {".5", "\\frac{1}{2}"},
                                                       {"x=7", "7"},
                                                       {"10\\text{ units}", "10"},
                                                       {"\\left( 1, 2 \\right)", "(1,2)"},
                                                       {"90^\\circ", "90"},
                                                       {"4, .1", "4,0.1"},
                                                       {"50\\%", "50"}};
  for (const auto& [text, form] : cases) EXPECT_EQ(MathString(text), form) << text;
}

}  // namespace
}  // namespace temper::math
