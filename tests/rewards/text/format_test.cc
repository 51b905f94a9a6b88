// SPDX-License-Identifier: Apache-2.0
#include "rewards/text/format.h"

#include "tests/rewards/samples.h"

namespace temper {
namespace {

struct Case {
  const char* text;
  const char* reason;  // empty: correct
};

TEST(Format, SaysWhatIsWrongWithACompletionThatBeginsInsideTheThinking) {
  const Case cases[] = {
      {"7 a -3 4 </think> <answer> 4 </answer>", ""},
      {"</think><answer>4</answer>", ""},
      {" x\n</think>\n\n<answer>\n4\n</answer>\n", ""},
      {"", "no </think>"},
      {"4", "no </think>"},
      {"x </think> 4", "no <answer>"},
      {"x </think> <answer> 4", "no </answer>"},
      {"x </think> 4 </answer>", "no <answer>"},
      {"x </think> y <answer> 4 </answer>", "text between </think> and <answer>"},
      {"x </think> <answer> 4 </answer> y", "text after </answer>"},
      {"x </think> <answer> </answer>", "nothing in <answer>"},
      {"x </think> </think> <answer> 4 </answer>", "two </think>"},
      {"x </think> <answer> 4 </answer> <answer> 4 </answer>", "two <answer>"},
      {"x </think> <answer> 4 </answer> </answer>", "two </answer>"},
      {"x </think> <answer> <answer> 4 </answer>", "two <answer>"},
      {"<answer> 4 </answer> </think>", "<answer> before </think>"},
      {"x </think> </answer> 4 <answer>", "</answer> before <answer>"},
      {"x <answer> y </think> <answer> 4 </answer>", "two <answer>"},
      {"x <think> y </think> <answer> 4 </answer>", "<think> inside the thinking"},
      {"<think> y </think> <answer> 4 </answer>", "<think> inside the thinking"},
      {"x </think> <answer> <think> 4 </answer>", "<think> inside the thinking"},
      {"x </Think> <answer> 4 </answer>", "no </think>"},
  };
  for (const Case& c : cases) {
    const Verdict verdict = Judge(Config("format"), Problem("4"), c.text);
    EXPECT_EQ(verdict.reason, c.reason) << c.text;
    EXPECT_EQ(verdict.kind, *c.reason ? VerdictKind::kMalformed : VerdictKind::kCorrect) << c.text;
    EXPECT_EQ(verdict.score, *c.reason ? 0 : 1) << c.text;
    EXPECT_EQ(verdict.rule, "format");
  }
}

TEST(Format, ThatIsCutByLengthIsMalformedEvenWhereItIsComplete) {
  const Verdict verdict =
      Judge(Config("format"), Problem("4"), "x </think> <answer> 4 </answer>", StopReason::kLength);
  EXPECT_EQ(verdict.kind, VerdictKind::kMalformed);
  EXPECT_EQ(verdict.reason, "cut by length");
}

TEST(Format, NeedsTheOpeningTagWhereThePromptHasNone) {
  Prompt prompt = Problem("4");
  prompt.text = "Q";
  RuleConfig config = Config("format");
  config.format.think_in_prompt = false;
  EXPECT_EQ(Judge(config, prompt, "<think> y </think> <answer> 4 </answer>").kind, VerdictKind::kCorrect);
  EXPECT_EQ(Judge(config, prompt, "y </think> <answer> 4 </answer>").reason, "no <think>");
  EXPECT_EQ(Judge(config, prompt, "y <think> </think> <answer> 4 </answer>").reason, "text before <think>");
  EXPECT_EQ(Judge(config, prompt, "<think> <think> </think> <answer> 4 </answer>").reason, "two <think>");
  EXPECT_EQ(Judge(config, prompt, "</think> <think> <answer> 4 </answer>").reason, "</think> before <think>");
}

TEST(Format, TakesAnOpeningTagWhereThePromptDoesNotEndWithIt) {
  Prompt prompt = Problem("4");
  prompt.text = "";
  EXPECT_EQ(Judge(Config("format"), prompt, "<think> y </think> <answer> 4 </answer>").kind,
            VerdictKind::kCorrect);
  EXPECT_EQ(Judge(Config("format"), prompt, "<think> <think> y </think> <answer> 4 </answer>").reason,
            "two <think>");
}

TEST(Format, TakesOtherSectionsAndASummaryAfterThem) {
  RuleConfig config = Config("format");
  config.format.tags = {"think", "plan", "final"};
  config.format.think_in_prompt = false;
  const auto reason = [&](const char* text) { return Judge(config, Problem("4"), text).reason; };
  EXPECT_EQ(reason("<think>a</think> <plan></plan>\n<final>c</final>"), "");
  EXPECT_EQ(reason("<think>a</think> <final>c</final> <plan>b</plan>"), "<final> before </plan>");
  EXPECT_EQ(reason("<think>a</think> <plan>b</plan> x <final>c</final>"), "text between </plan> and <final>");
  EXPECT_EQ(reason("<think>a <plan>b</think> </plan> <final>c</final>"), "<plan> before </think>");
  EXPECT_EQ(reason("<think>a</think> <final>c</final>"), "no <plan>");
  EXPECT_EQ(reason("<think>a</think> <plan>b</plan> <final> </final>"), "nothing in <final>");
  config.format.tags = {"think"};
  config.format.text_after = true;
  EXPECT_EQ(reason("<think>a</think> It is four."), "");
  EXPECT_EQ(reason("<think></think> It is four."), "");
  EXPECT_EQ(reason("<think>a</think> \n"), "nothing after </think>");
  EXPECT_EQ(reason("<think>a</think> b </think>"), "two </think>");
}

TEST(Format, TakesInvisibleCharactersOutsideForText) {
  const auto reason = [&](const char* text) { return Judge(Config("format"), Problem("4"), text).reason; };
  EXPECT_EQ(reason("x</think>\xe2\x80\x8b<answer>4</answer>"), "text between </think> and <answer>");
  EXPECT_EQ(reason("x</think><answer>4</answer>\xff"), "text after </answer>");
  EXPECT_EQ(reason("x</think><answer>\xe2\x80\x8b\xef\xbb\xbf </answer>"), "nothing in <answer>");
  EXPECT_EQ(reason("x</think\xe2\x80\x8b><answer>4</answer>"), "no </think>");
}

TEST(Format, CallsNoHostileTextCorrectButTheWellFormedOnes) {
  for (const std::string& text : HostileTexts()) {
    const Verdict verdict = Judge(Config("format"), Problem("7"), text);
    if (verdict.kind == VerdictKind::kCorrect) {
      EXPECT_NE(text.find("</think><answer>"), text.npos) << text.substr(0, 60);
      EXPECT_TRUE(text.ends_with("</answer>")) << text.substr(0, 60);
    } else {
      EXPECT_EQ(verdict.kind, VerdictKind::kMalformed) << text.substr(0, 60);
    }
  }
}

}  // namespace
}  // namespace temper
