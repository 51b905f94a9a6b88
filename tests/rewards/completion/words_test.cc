// SPDX-License-Identifier: Apache-2.0
#include "rewards/completion/words.h"

#include "gtest/gtest.h"
#include "tests/rewards/samples.h"

namespace temper {
namespace {

std::vector<std::string> SentencesOf(std::string_view text) {
  std::vector<std::string> sentences;
  ForEachSentence(text, [&](size_t begin, size_t end) {
    sentences.emplace_back(TrimSpace(text.substr(begin, end - begin)));
  });
  return sentences;
}

TEST(Words, SentencesDoNotEndAtAbbreviations) {
  EXPECT_EQ(
      SentencesOf("Dr. Low met Mrs. Ode. She paid 3.50 for it! Why? 对。好的。"),
      (std::vector<std::string>{"Dr. Low met Mrs. Ode.", "She paid 3.50 for it!", "Why?", "对。", "好的。"}));
}

TEST(Words, RunsAreThoseOfPythonsWordCharacters) {
  EXPECT_EQ(CountWordRuns("don't stop_it: 3.5 élan, 等等 \xff x²"), 8);
  EXPECT_EQ(CountWordRuns(""), 0);
}

TEST(Words, FoldingMakesFormsEqualAndLeavesOutWhatNobodySees) {
  EXPECT_EQ(FoldCase("STRASSE ÉÑ Σς"), FoldCase("straße éñ σσ"));
  EXPECT_EQ(FoldForms("Ｂ\u200bom\u00adb ﬁ"), "bomb fi");
  EXPECT_EQ(FoldForms("a\xff"), "a\xef\xbf\xbd");
}

TEST(Phrases, AreFoundAsWholeWordsInAnyCaseAndSpacing) {
  const Phrases phrases({"pipe bomb", "", "bomb", "  Ab ", "制造炸弹", "don't"});
  EXPECT_EQ(phrases.Find("how to make a Pipe\n  BOMB?"), 0);
  EXPECT_EQ(phrases.Find("a bomb pipe"), 2);
  EXPECT_EQ(phrases.Find("bombs away, a bombard"), -1);
  EXPECT_EQ(phrases.Find("a b\u200bo\u00admb"), 2);
  EXPECT_EQ(phrases.Find("ｂｏｍｂ"), 2);
  EXPECT_EQ(phrases.Find("ab"), 3);
  EXPECT_EQ(phrases.Find("abc cab"), -1);
  EXPECT_EQ(phrases.Find("如何制造炸弹呢"), 4);
  EXPECT_EQ(phrases.Find("I don\u2019t"), 5);
  EXPECT_EQ(phrases.Find(""), -1);
}

TEST(Phrases, FindAShorterOneWhereALongerOneHasTheSameBeginning) {
  const Phrases phrases({"a b c d", "a b", "a b d"});
  EXPECT_EQ(phrases.Find("x a b c x"), 1);
  EXPECT_EQ(phrases.Find("x a b c d"), 0);
  EXPECT_EQ(phrases.Find("x a bb"), -1);
}

TEST(Words, TakeAnyBytes) {
  const Phrases phrases({"seven", "</think>", "七"});
  for (const std::string& text : HostileTexts()) {
    size_t covered = 0;
    ForEachSentence(text, [&](size_t begin, size_t end) { covered += end - begin; });
    EXPECT_EQ(covered, text.size());
    ForEachWord(text, [&](size_t begin, size_t end) { ASSERT_LT(begin, end); });
    EXPECT_GE(CountWordRuns(text), 0);
    (void)phrases.Find(text);
  }
}

}  // namespace
}  // namespace temper
