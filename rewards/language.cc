// SPDX-License-Identifier: Apache-2.0
#include "rewards/language.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/text.h"
#include "rewards/tags.h"
#include "unicode/brkiter.h"
#include "unicode/uchar.h"
#include "unicode/uscript.h"
#include "unicode/utext.h"
#include "unicode/utf8.h"

namespace temper {
namespace {

struct Language {
  const char* name;
  std::initializer_list<UScriptCode> scripts;
};
const Language kLanguages[] = {{"en", {USCRIPT_LATIN}},
                               {"zh", {USCRIPT_HAN}},
                               {"ja", {USCRIPT_HAN, USCRIPT_HIRAGANA, USCRIPT_KATAKANA}},
                               {"ko", {USCRIPT_HANGUL}},
                               {"ru", {USCRIPT_CYRILLIC}},
                               {"ar", {USCRIPT_ARABIC}}};

const Language* FindLanguage(std::string_view name) {
  for (const Language& language : kLanguages) {
    if (language.name == name) return &language;
  }
  return nullptr;
}

// Blanks what stands between `open` and the next `close` within `most` bytes; openings without an end stay
// words.
void Blank(std::string* text, std::string_view open, std::string_view close, size_t most) {
  for (size_t at = text->find(open); at != text->npos; at = text->find(open, at)) {
    const std::string_view window = std::string_view(*text).substr(at + open.size(), most);
    const size_t end = window.find(close);
    if (end == window.npos) {
      at += open.size();
      continue;
    }
    const size_t length = open.size() + end + close.size();
    std::fill_n(text->begin() + static_cast<int64_t>(at), length, ' ');
    at += length;
  }
}

// Blanks from `open` as long as `belongs` says.
template <class Belongs>
void BlankRun(std::string* text, std::string_view open, Belongs belongs) {
  for (size_t at = text->find(open); at != text->npos; at = text->find(open, at)) {
    size_t end = at + open.size();
    while (end < text->size() && belongs((*text)[end])) ++end;
    std::fill(text->begin() + static_cast<int64_t>(at), text->begin() + static_cast<int64_t>(end), ' ');
    at = end;
  }
}

std::string Prose(std::string_view text) {
  std::string prose(text);
  Blank(&prose, "```", "```", 1 << 16);
  Blank(&prose, "`", "`", 200);
  Blank(&prose, "$$", "$$", 4096);
  Blank(&prose, "\\[", "\\]", 4096);
  Blank(&prose, "\\(", "\\)", 1024);
  Blank(&prose, "$", "$", 200);
  Blank(&prose, "<", ">", 16);
  const auto visible = [](char c) {
    return static_cast<unsigned char>(c) > ' ' && static_cast<unsigned char>(c) < 0x7f;
  };
  BlankRun(&prose, "https://", visible);
  BlankRun(&prose, "http://", visible);
  BlankRun(&prose, "\\", [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); });
  return prose;
}

// The iterator that threads copy; loading it takes a while, and is done by one of them. Never destroyed.
const icu::BreakIterator& WordBreaks() {
  static const icu::BreakIterator* const breaks = [] {
    UErrorCode error = U_ZERO_ERROR;
    const icu::BreakIterator* made = icu::BreakIterator::createWordInstance(icu::Locale::getRoot(), error);
    TEMPER_CHECK(made != nullptr && U_SUCCESS(error), "ICU has no word break: ", u_errorName(error));
    return made;
  }();
  return *breaks;
}

struct CloseText {
  void operator()(UText* text) const { utext_close(text); }
};

class LanguageRule : public Reward {
 public:
  LanguageRule(std::string language, int64_t min_words)
      : language_(std::move(language)), min_words_(min_words) {}
  const std::string& name() const override { return name_; }

  Verdict Judge(const Completion& completion) const override {
    const std::string_view thinking =
        completion.raw ? completion.text : SplitThinking(completion.text).thinking;
    const WordCounts words = CountWords(thinking, language_);
    const bool few = words.counted < min_words_;
    const double score = few ? 1 : static_cast<double>(words.target) / static_cast<double>(words.counted);
    return MakeVerdict(score == 1 ? VerdictKind::kCorrect : VerdictKind::kWrong, score,
                       absl::StrCat(words.target, " of ", words.counted, " words are ", language_,
                                    few ? absl::StrCat("; fewer than ", min_words_, " say nothing") : ""));
  }

 private:
  const std::string name_ = "language";
  const std::string language_;
  const int64_t min_words_;
};

}  // namespace

WordCounts CountWords(std::string_view text, std::string_view language) {
  const Language* target = FindLanguage(language);
  TEMPER_CHECK(target != nullptr, "language ", std::string(language));
  const std::string prose = Prose(text.substr(0, 8 << 20));
  // An iterator belongs to one thread.
  thread_local const std::unique_ptr<icu::BreakIterator> words(WordBreaks().clone());
  TEMPER_CHECK(words != nullptr, "ICU: out of memory");
  UErrorCode error = U_ZERO_ERROR;
  const std::unique_ptr<UText, CloseText> utext(
      utext_openUTF8(nullptr, prose.data(), static_cast<int64_t>(prose.size()), &error));
  words->setText(utext.get(), error);
  TEMPER_CHECK(U_SUCCESS(error), "ICU: ", u_errorName(error));

  WordCounts counts;
  int32_t begin = words->first();
  for (int32_t end = words->next(); end != icu::BreakIterator::DONE; begin = end, end = words->next()) {
    if (words->getRuleStatus() == UBRK_WORD_NONE) continue;
    int letters = 0, of_target = 0;
    bool single_counts = false;  // one character is a word in these scripts
    for (int32_t at = begin; at < end;) {
      UChar32 c = 0;
      U8_NEXT(prose.data(), at, end, c);
      UErrorCode ignored = U_ZERO_ERROR;
      if (c < 0 || !u_isalpha(c)) continue;
      const UScriptCode script = uscript_getScript(c, &ignored);
      if (script == USCRIPT_COMMON || script == USCRIPT_INHERITED) continue;
      ++letters;
      of_target += std::count(target->scripts.begin(), target->scripts.end(), script) > 0;
      single_counts |= script == USCRIPT_HAN || script == USCRIPT_HIRAGANA || script == USCRIPT_KATAKANA ||
                       script == USCRIPT_HANGUL;
    }
    if (letters == 0 || (letters == 1 && !single_counts)) continue;
    ++counts.counted;
    counts.target += of_target == letters;
  }
  return counts;
}

absl::StatusOr<std::unique_ptr<Reward>> MakeLanguage(const RuleConfig& config) {
  if (FindLanguage(config.language) == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("rule language: ", Printable(config.language),
                     " cannot be told from its words' script; "
                     "languages are en, zh, ja, ko, ru, ar (en stands for any language in Latin letters)"));
  }
  return std::make_unique<LanguageRule>(config.language, config.min_words);
}

}  // namespace temper
