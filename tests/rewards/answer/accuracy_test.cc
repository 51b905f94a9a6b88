// SPDX-License-Identifier: Apache-2.0
#include "rewards/answer/accuracy.h"

#include "absl/strings/str_cat.h"
#include "data/tasks/procedural.h"
#include "rewards/answer/answer.h"
#include "tests/rewards/samples.h"

namespace temper {
namespace {

std::string Tagged(const std::string& answer) {
  return absl::StrCat("x </think> <answer>", answer, "</answer>");
}

VerdictKind KindOf(const std::string& reference, const std::string& answer) {
  return Judge(Config("accuracy"), Problem(reference), Tagged(answer)).kind;
}

TEST(Accuracy, AcceptsTheSameAnswerInAnotherForm) {
  const char* pairs[][2] = {{"18", "18"},
                            {"18", " 18. "},
                            {"18", "$18$"},
                            {"18", "\\boxed{18}"},
                            {"18", "The answer is \\boxed{18}."},
                            {"She sells 9 eggs. 9 * 2 = 18\n#### 18", "18"},
                            {"#### 1,234", "1234"},
                            {"18", "9*2=18\n#### 18"},
                            {"18", "x = 18"},
                            {"28\\%", "$28$ percent"},
                            {"1/3", "$\\left( \\frac{1}{3} \\right)$"},
                            {"32349", "\\boxed{32,\\! 349}"},
                            {"'1'", "1"},
                            {"45", "[45]"},
                            {"x=18", "18"},
                            {"x=18", "x = 18"},
                            {"\\frac{1}{2}", "0.5"},
                            {"B", "B"},
                            {"B", "b"},
                            {"B", "(B)"},
                            {"B", "B."},
                            {"B", "B)"},
                            {"B", "[B]"},
                            {"B", "**B**"},
                            {"B", "\\text{B}"},
                            {"B", "\\textbf{(B)}"},
                            {"B", "option B"},
                            {"B", "B. Paris"},
                            {"B", "(B) 42"},
                            {"B", "Ｂ"},
                            {"(B)", "B"},
                            {"(b)", "B"},
                            {"Paris", "paris"},
                            {"Paris", "\"Paris\""},
                            {"New  York", "new york."},
                            {"x + 1", "x+1"},
                            {"\\dfrac{x}{2}", "\\frac{x}{2}"},
                            {"(1, 2)", "(1,2)"},
                            {"北京", "北京"}};
  for (const auto& [reference, answer] : pairs) {
    EXPECT_EQ(KindOf(reference, answer), VerdictKind::kCorrect) << reference << " and " << answer;
  }
}

TEST(Accuracy, NeverAcceptsADifferentAnswer) {
  const char* pairs[][2] = {{"18", "180"},
                            {"18", "81"},
                            {"18", "1 8"},
                            {"18", "18 or 19"},
                            {"18", "17, 18"},
                            {"18", "-18"},
                            {"18", "not 18"},
                            {"18", "18 million"},
                            {"18", "18x"},
                            {"18", "\\boxed{18} \\boxed{19}"},
                            {"18", "\\boxed{17} 18"},
                            {"18", "#### 18 #### 19"},
                            {"18", "B"},
                            {"18", "eighteen"},
                            {"18", "y=x=18"},
                            {"x=18", "y=18"},
                            {"1,000", "1"},
                            {"0.5", "5"},
                            {"1/3", "0.33"},
                            {"B", "A"},
                            {"B", "B or C"},
                            {"B", "B, C"},
                            {"B", "BC"},
                            {"B", "B) C)"},
                            {"B", "(B) or (C)"},
                            {"B", "B. or C."},
                            {"B", "(A) (B)"},
                            {"B", "Berlin"},
                            {"B", "not B"},
                            {"B", "ABCD"},
                            {"B", "42"},
                            {"e", "E"},
                            {"x", "X"},
                            {"x+1", "x+2"},
                            {"x+1", "x-1"},
                            {"X+1", "x+1"},
                            {"x + y - z + 2 = 0", "5x - 7y + 11z + 4 = 0"},
                            {"4, 12, 2", "10, 4, 2"},
                            {"(1,2)", "(2,1)"},
                            {"(1,2)", "(12)"},
                            {"1 2 + x", "12 + x"},
                            {"Paris", "Paris or London"},
                            {"Paris", "London"},
                            {"no", "not"},
                            {"2^3", "23"}};
  for (const auto& [reference, answer] : pairs) {
    EXPECT_EQ(KindOf(reference, answer), VerdictKind::kWrong) << reference << " and " << answer;
  }
}

TEST(Accuracy, ReadsTheAnswerOnlyInItsTags) {
  struct Case {
    const char* text;
    VerdictKind kind;
    const char* reason;
  };
  const Case cases[] = {
      {"18", VerdictKind::kNoAnswer, "no </think>"},
      {"x </think> 18", VerdictKind::kNoAnswer, "no <answer> after </think>"},
      {"x </think> \\boxed{18}", VerdictKind::kNoAnswer, "no <answer> after </think>"},
      {"x <answer>18</answer> </think> y", VerdictKind::kNoAnswer, "no <answer> after </think>"},
      {"x <answer>18</answer>", VerdictKind::kMalformed, "<answer> without </think>"},
      {"x </think> <answer>18", VerdictKind::kMalformed, "no </answer>"},
      {"x </think> 18</answer>", VerdictKind::kMalformed, "</answer> without <answer>"},
      {"x </think> </answer>18<answer>", VerdictKind::kMalformed, "</answer> before <answer>"},
      {"x </think> <answer> </answer>", VerdictKind::kNoAnswer, "nothing in <answer>"},
      {"x </think> <answer>18</answer> <answer>19</answer>", VerdictKind::kMalformed, "two <answer>"},
      {"x </think> <answer>19</answer> </think> <answer>18</answer>", VerdictKind::kMalformed,
       "two </think>"},
      {"x <answer>19</answer> </think> <answer>18</answer> y", VerdictKind::kCorrect, ""},
  };
  for (const Case& c : cases) {
    const Verdict verdict = Judge(Config("accuracy"), Problem("18"), c.text);
    EXPECT_EQ(verdict.kind, c.kind) << c.text;
    EXPECT_EQ(verdict.reason, c.reason) << c.text;
  }
  EXPECT_EQ(Judge(Config("accuracy"), Problem("18"), "x </think> <answer>1", StopReason::kLength).reason,
            "cut by length in <answer>");
}

TEST(Accuracy, SaysWhatItFound) {
  const Verdict verdict = Judge(Config("accuracy"), Problem("18"), Tagged(" \\boxed{19} "));
  EXPECT_EQ(verdict.extracted, "19");
  EXPECT_EQ(verdict.reason, "19 is not 18");
  EXPECT_EQ(verdict.rule, "accuracy");
  EXPECT_EQ(verdict.score, 0);
}

TEST(Accuracy, WithoutAReadableReferenceIsTheDatasetsErrorAndNeverAWrongAnswer) {
  for (const std::string& reference :
       {std::string(), std::string("  "), std::string("\\boxed{}"), std::string(5000, '1')}) {
    const Prompt prompt = Problem(reference);
    EXPECT_FALSE(Rule(Config("accuracy"))->CheckAnswer(prompt).ok()) << reference.size();
    EXPECT_EQ(Judge(Config("accuracy"), prompt, Tagged("5")).kind, VerdictKind::kMalformed);
  }
  EXPECT_TRUE(Rule(Config("accuracy"))->CheckAnswer(Problem("18")).ok());
  EXPECT_FALSE(Rule(Config("number"))->CheckAnswer(Problem("Paris")).ok());
  EXPECT_FALSE(Rule(Config("choice"))->CheckAnswer(Problem("18")).ok());
  EXPECT_TRUE(Rule(Config("choice"))->CheckAnswer(Problem("(C)")).ok());
  EXPECT_EQ(Rule(Config("number"))->CheckAnswer(Problem("Paris")).message(),
            "problem p1: its reference answer is no number: Paris");
}

TEST(Accuracy, OfARawCompletionTakesTheWholeTextAsTheAnswer) {
  const auto raw = [](const char* text) {
    return Judge(Config("accuracy"), Problem("18"), text, StopReason::kEndOfText, true).kind;
  };
  EXPECT_EQ(raw("18"), VerdictKind::kCorrect);
  EXPECT_EQ(raw("$18$"), VerdictKind::kCorrect);
  EXPECT_EQ(raw("17 18"), VerdictKind::kWrong);
  EXPECT_EQ(raw(""), VerdictKind::kNoAnswer);
}

TEST(Exact, ComparesBytesButForSpaceAround) {
  EXPECT_EQ(Judge(Config("exact"), Problem("1/2"), Tagged(" 1/2 ")).kind, VerdictKind::kCorrect);
  EXPECT_EQ(Judge(Config("exact"), Problem("1/2"), Tagged("0.5")).kind, VerdictKind::kWrong);
}

TEST(Accuracy, LenientlyFindsTheAnswerWithoutTags) {
  const auto lenient = [](const char* reference, const char* text) {
    RuleConfig config = Config("accuracy");
    config.answer.mode = "lenient";
    return Judge(config, Problem(reference), text);
  };
  const char* right[][2] = {{"18", "so 9 * 2 = 18"},
                            {"18", "7 a 4 b +8 18 . "},
                            {"18", "first 3 </think> 18"},
                            {"18", "it is 18 </think>"},
                            {"18", "it is 18 </think> so <answer> 18 </answer> and 5"},
                            {"18", "\\boxed{18} from 3 eggs"},
                            {"18", "\\boxed{17} \\boxed{18}"},
                            {"18", "The answer is $18.00."},
                            {"18", "eggs #### 18"},
                            {"1,234.5", "that makes 1,234.5."},
                            {"-5", "x is -5"},
                            {"5", "from 10-5"},
                            {"0.5", "a share of .5"},
                            {"1/2", "it is \\frac{1}{2}"},
                            {"-1/2", "it is -\\frac{1}{2}."},
                            {"50%", "which is 50%."},
                            {"2", "the roots are 1,2"},
                            {"B", "The answer is B."},
                            {"B", "I think (A) or no, (B) it is"},
                            {"B", "so\nB"},
                            {"Paris", "The answer is Paris."},
                            {"Paris", "Hm.\nParis"}};
  for (const auto& [reference, text] : right) {
    EXPECT_EQ(lenient(reference, text).kind, VerdictKind::kCorrect)
        << reference << ": " << text << ": " << lenient(reference, text).extracted;
  }
  EXPECT_EQ(lenient("18", "18 then 19").kind, VerdictKind::kWrong);
  EXPECT_EQ(lenient("125 per cent", "it is 1.25 per cent").kind, VerdictKind::kWrong);
  // A last box that is open or empty is no answer, whatever an earlier one holds.
  for (const char* text : {"\\boxed{18}. No: \\boxed{", "\\boxed{18} \\boxed{}"})
    EXPECT_EQ(lenient("18", text).kind, VerdictKind::kNoAnswer) << text;
  EXPECT_EQ(lenient("18", "18 </think> 19").kind, VerdictKind::kWrong);
  EXPECT_EQ(lenient("18", "no idea").kind, VerdictKind::kNoAnswer);
  EXPECT_EQ(lenient("B", "A dog").kind, VerdictKind::kNoAnswer);
  EXPECT_EQ(lenient("18", "").kind, VerdictKind::kNoAnswer);
}

TEST(Accuracy, CallsNoHostileTextCorrectAndThrowsNothing) {
  for (const std::string& text : HostileTexts()) {
    for (const char* rule : {"accuracy", "exact", "number"}) {
      const Verdict verdict = Judge(Config(rule), Problem("7"), text);
      EXPECT_NE(verdict.kind, VerdictKind::kCorrect) << text.substr(0, 60);
      EXPECT_NE(verdict.kind, VerdictKind::kInfrastructureError) << verdict.reason;
    }
    RuleConfig config = Config("accuracy");
    for (const char* reference : {"9", "C", "Rome"}) {
      for (const bool raw : {false, true}) {
        config.answer.mode = raw ? "strict" : "lenient";
        const Verdict verdict = Judge(config, Problem(reference), text, StopReason::kEndOfText, raw);
        EXPECT_NE(verdict.kind, VerdictKind::kCorrect) << text.substr(0, 60);
        EXPECT_NE(verdict.kind, VerdictKind::kInfrastructureError) << verdict.reason;
        EXPECT_LE(verdict.extracted.size(), kMaxAnswerBytes);
      }
    }
  }
}

TEST(Core, IsInTheLastBoxWhoseBracesClose) {
  EXPECT_EQ(Core("\\boxed{1} \\boxed{\\frac{1}{2}} x"), "\\frac{1}{2}");
  EXPECT_EQ(Core("\\boxed{1} \\boxed{2"), "");
  EXPECT_EQ(Core("\\boxed{}"), "");
  EXPECT_EQ(Core("boxed{1}"), "boxed{1}");
  EXPECT_EQ(Core(""), "");
}

TEST(AnswerKey, IsTheSameForAnswersThatVoteTogether) {
  for (const char* text : {"1/2", "0.5", "50%", "\\frac12", "2/4", "0.50"})
    EXPECT_EQ(AnswerKey(text), "1/2") << text;
  EXPECT_EQ(AnswerKey("-1,000.0"), "-1000");
  EXPECT_EQ(AnswerKey("-0.0"), "0");
  EXPECT_EQ(AnswerKey("1000000000000000000000"), "1000000000000000000000");
  EXPECT_EQ(AnswerKey(" $\\text{yes}$. "), "yes");
  EXPECT_EQ(AnswerKey("\\left(a, b\\right)"), AnswerKey("(a,b)"));
  EXPECT_EQ(AnswerKey("\\leftarrow"), "\\leftarrow");
  EXPECT_EQ(AnswerKey("..."), "...");
  EXPECT_EQ(AnswerKey("}{"), "}{");
  EXPECT_EQ(AnswerKey("(B)"), AnswerKey("B."));
  EXPECT_EQ(AnswerKey(" Paris. "), AnswerKey("paris"));
  EXPECT_NE(AnswerKey("5"), AnswerKey("-5"));
}

TEST(Accuracy, JudgesProceduralTasksByTheirOwnChecks) {
  for (const procedural::Task& task : procedural::Tasks()) {
    const Prompt prompt = procedural::MakeProblem(task, 1, 1, 0, Split::kTrain);
    EXPECT_TRUE((*MakeAnswerRule("accuracy", {}))->CheckAnswer(prompt).ok()) << task.name;
    EXPECT_EQ(Judge(Config("accuracy"), prompt, Tagged(prompt.answer)).kind, VerdictKind::kCorrect)
        << task.name;
    EXPECT_EQ(Judge(Config("accuracy"), prompt, Tagged("it is 7 of them")).kind, VerdictKind::kWrong)
        << task.name;
    EXPECT_EQ(Judge(Config("accuracy"), prompt, prompt.answer).score, 0) << task.name;  // no tags
  }
  Prompt prompt;
  prompt.task = "countdown";
  prompt.answer = "(3 + 4) * 2";
  prompt.fields = R"({"level":1,"numbers":[2,3,4],"target":14})";
  EXPECT_EQ(Judge(Config("accuracy"), prompt, Tagged("2 * (4 + 3)")).kind, VerdictKind::kCorrect);
  EXPECT_EQ(Judge(Config("accuracy"), prompt, Tagged("\\boxed{2 * (4 + 3)}")).kind, VerdictKind::kCorrect);
  EXPECT_EQ(Judge(Config("exact"), prompt, Tagged("2 * (4 + 3)")).kind, VerdictKind::kWrong);
  EXPECT_EQ(Judge(Config("accuracy"), prompt, Tagged("2 + 3 * 4")).kind, VerdictKind::kCorrect);
  EXPECT_EQ(Judge(Config("accuracy"), prompt, Tagged("2 * 3 + 4")).reason, "it makes 10, not 14");
  prompt.answer = "2 * 3 + 4";
  EXPECT_EQ(Judge(Config("accuracy"), prompt, Tagged("2 + 3 * 4")).kind, VerdictKind::kMalformed);
}

}  // namespace
}  // namespace temper
