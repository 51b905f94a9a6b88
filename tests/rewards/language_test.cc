// SPDX-License-Identifier: Apache-2.0
#include "rewards/language.h"

#include "tests/rewards/samples.h"

namespace temper {
namespace {

Verdict Of(const char* language, std::string_view text, int64_t min_words = 1) {
  RuleConfig config = Config("language");
  config.language = language;
  config.min_words = min_words;
  return Judge(config, Problem("1"), text);
}

TEST(Language, IsTheShareOfTheTargetsWords) {
  EXPECT_EQ(Of("en", "Wait, let me think about that again").score, 1);
  EXPECT_EQ(Of("zh", "Wait, let me think about that again").score, 0);
  EXPECT_EQ(Of("ru", "Подождите, let me проверю").score, 0.5);
  EXPECT_EQ(Of("ko", "잠깐 다시 생각해 보자").score, 1);
  EXPECT_EQ(Of("ar", "انتظر دعني أفكر").score, 1);
  EXPECT_EQ(Of("ja", "もう一度考えましょう").score, 1);
  const Verdict mixed = Of("en", "Wait, 让我再想一想。 The answer follows");
  EXPECT_EQ(mixed.reason.substr(0, 5), "4 of ");
  EXPECT_GT(mixed.score, 0.3);
  EXPECT_LT(mixed.score, 0.7);
  EXPECT_EQ(mixed.kind, VerdictKind::kWrong);
}

TEST(Language, LooksOnlyAtTheThinking) {
  EXPECT_EQ(Of("en", "let me see </think> 答案是五 <answer>五</answer>").score, 1);
  EXPECT_EQ(Of("en", "让我想想 </think> the answer is five").score, 0);
}

TEST(Language, LeavesOutCodeFormulasNumbersLettersAndAddresses) {
  for (const char* text :
       {"```\nfor word in words: print(word)\n```", "`std vector`", "$\\alpha beta$", "$$ sum over all $$",
        "\\(x plus y\\)", "\\[ many words \\]", "\\frac \\alpha", "12 3.5 1e9", "x y z a I",
        "https://example.org/some/words?in=it", "<answer>", "7 a -3 4 b *2 8", "", "+-*/ … ，。"}) {
    const WordCounts words = CountWords(text, "zh");
    EXPECT_EQ(words.counted, 0) << text;
  }
  EXPECT_EQ(CountWords("costs $5 for apples and more", "en").counted, 5);
  EXPECT_EQ(CountWords("```\nwords that hide in an open fence", "en").counted, 7);
}

TEST(Language, SaysNothingOfFewWordsAndShowsTheCount) {
  const Verdict few = Of("zh", "only four words here", 5);
  EXPECT_EQ(few.score, 1);
  EXPECT_EQ(few.kind, VerdictKind::kCorrect);
  EXPECT_EQ(few.reason, "0 of 4 words are zh; fewer than 5 say nothing");
  EXPECT_EQ(Of("zh", "but these five words count", 5).score, 0);
}

TEST(Language, DoesNotTakeAWordOfTwoScriptsForTheTargets) {
  EXPECT_EQ(CountWords("p\xd0\xb0ypal", "en").target, 0);  // a Cyrillic a
}

TEST(Language, JudgesHostileBytes) {
  for (const std::string& text : HostileTexts()) {
    for (const char* language : {"en", "zh"}) {
      const Verdict verdict = Of(language, text);
      EXPECT_NE(verdict.kind, VerdictKind::kInfrastructureError) << verdict.reason;
      EXPECT_GE(verdict.score, 0);
      EXPECT_LE(verdict.score, 1);
    }
  }
}

}  // namespace
}  // namespace temper
