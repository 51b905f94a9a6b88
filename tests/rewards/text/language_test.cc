// SPDX-License-Identifier: Apache-2.0
#include "rewards/text/language.h"

#include "absl/strings/str_cat.h"
#include "tests/rewards/samples.h"

namespace temper {
namespace {

Verdict Of(const char* language, std::string_view text, int64_t min_words = 1) {
  RuleConfig config = Config("language");
  config.language.language = language;
  config.language.min_words = min_words;
  return Judge(config, Problem("1"), text);
}

TEST(Language, IsTheShareOfTheTargetsWords) {
  EXPECT_EQ(Of("en", "Wait, let me think about that again").score, 1);
  EXPECT_EQ(Of("zh", "Wait, let me think about that again").score, 0);
  EXPECT_EQ(Of("ru", "Подождите, мне нужно let me check all").score, 3.0 / 7);
  EXPECT_EQ(Of("ko", "잠깐 다시 생각해 보자").score, 1);
  EXPECT_EQ(Of("ar", "انتظر دعني أفكر").score, 1);
  EXPECT_EQ(Of("ja", "もう一度考えましょう").score, 1);
  const Verdict mixed = Of("en", "Wait, 让我再想一想。 The answer follows from this");
  EXPECT_EQ(mixed.reason.substr(0, 5), "5 of ");
  EXPECT_GT(mixed.score, 0.3);
  EXPECT_LT(mixed.score, 0.7);
  EXPECT_EQ(mixed.kind, VerdictKind::kWrong);
}

TEST(Language, TellsLanguagesOfOneScriptApart) {
  const std::pair<const char*, const char*> texts[] = {
      {"en", "First I add the apples and then the pears, which makes twelve pieces of fruit in all."},
      {"fr", "D'abord j'additionne les pommes et puis les poires, ce qui fait douze fruits en tout."},
      {"de", "Zuerst zähle ich die Äpfel und dann die Birnen, das macht zusammen zwölf Stück Obst."},
      {"es", "Primero sumo las manzanas y luego las peras, lo que hace doce frutas en total."},
      {"it", "Prima sommo le mele e poi le pere, il che fa dodici frutti in tutto."},
      {"pt", "Primeiro somo as maçãs e depois as peras, o que dá doze frutas ao todo."},
      {"ru", "Сначала я складываю яблоки, а потом груши, и всего получается двенадцать фруктов."},
      {"uk", "Спочатку я додаю яблука, а потім груші, і разом виходить дванадцять фруктів."},
      {"ar", "أولا أجمع التفاحات ثم الإجاصات فيكون المجموع اثنتي عشرة ثمرة في النهاية."},
      {"fa",
       "اول سیب‌ها را جمع می‌کنم و بعد گلابی‌ها را، که روی هم "
       "دوازده "
       "میوه "
       "می‌شود."}};
  for (const auto& [language, text] : texts) {
    for (const auto& [target, unused] : texts) {
      const WordCounts words = CountWords(text, target);
      EXPECT_GE(words.counted, 9) << language << " for " << target;
      EXPECT_EQ(words.target, std::string(target) == language ? words.counted : 0)
          << language << " for " << target;
    }
    EXPECT_EQ(DetectLanguage(text), language);
  }
  // Sentence by sentence.
  const Verdict half = Of("en", absl::StrCat(texts[0].second, "\n", texts[1].second));
  EXPECT_GT(half.score, 0.4);
  EXPECT_LT(half.score, 0.6);
}

TEST(Language, LeavesOutAndShowsWordsOfNoKnownLanguage) {
  const Verdict verdict = Of("en", "blorf gnard wizzle thorp quindle. I add the apples and then the pears.");
  EXPECT_EQ(verdict.reason, "7 of 7 words are en, 5 unknown");
  EXPECT_EQ(verdict.score, 1);
  EXPECT_EQ(Of("en", "blorf gnard wizzle thorp quindle", 5).reason,
            "0 of 0 words are en, 5 unknown; fewer than 5 say nothing");
}

TEST(Language, OfARowComesBeforeTheConfigs) {
  Prompt prompt = Problem("1");
  prompt.fields = R"({"language":"de"})";
  const char* text = "Zuerst addiere ich die Äpfel und dann die Birnen.";
  EXPECT_EQ(Judge(Config("language"), prompt, text).score, 1);
  prompt.fields = R"({"language":"python"})";  // rule code's
  EXPECT_EQ(Judge(Config("language"), prompt, text).score, 0);
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
  EXPECT_EQ(CountWords("it costs $5 for the apples and more", "en").counted, 7);
  EXPECT_EQ(CountWords("```\nthese are words that hide in an open fence", "en").counted, 9);
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
