// SPDX-License-Identifier: Apache-2.0
#include "rewards/completion/words.h"

#include <algorithm>
#include <memory>

#include "core/check.h"
#include "core/one_of.h"
#include "core/text.h"
#include "unicode/brkiter.h"
#include "unicode/bytestream.h"
#include "unicode/casemap.h"
#include "unicode/filteredbrk.h"
#include "unicode/normalizer2.h"
#include "unicode/uchar.h"
#include "unicode/uscript.h"
#include "unicode/utext.h"
#include "unicode/utf8.h"

namespace temper {
namespace {

using icu::BreakIterator;

void Check(UErrorCode error, const char* what) {
  TEMPER_CHECK(U_SUCCESS(error), "ICU, ", what, ": ", u_errorName(error));
}

// The iterators that threads copy; loading one takes a while, and is done by one thread. Never destroyed.
const BreakIterator& WordBreaks() {
  static const BreakIterator* const breaks = [] {
    UErrorCode error = U_ZERO_ERROR;
    const BreakIterator* made = BreakIterator::createWordInstance(icu::Locale::getRoot(), error);
    Check(error, "word break");
    return made;
  }();
  return *breaks;
}

const BreakIterator& SentenceBreaks() {
  static const BreakIterator* const breaks = [] {
    UErrorCode error = U_ZERO_ERROR;
    BreakIterator* plain = BreakIterator::createSentenceInstance(icu::Locale::getEnglish(), error);
    Check(error, "sentence break");
    const std::unique_ptr<icu::FilteredBreakIteratorBuilder> builder(
        icu::FilteredBreakIteratorBuilder::createInstance(icu::Locale::getEnglish(), error));
    for (const char16_t* more : {u"Dr.", u"Prof.", u"e.g.", u"i.e.", u"vs."})
      builder->suppressBreakAfter(more, error);
    Check(error, "abbreviations");
    const BreakIterator* made = builder->build(plain, error);  // takes `plain`
    Check(error, "sentence break with abbreviations");
    return made;
  }();
  return *breaks;
}

struct CloseText {
  void operator()(UText* text) const { utext_close(text); }
};

// Calls piece(begin, end, status) for what lies between two breaks.
template <class Piece>
void ForEachPiece(BreakIterator& breaks, std::string_view text, const Piece& piece) {
  UErrorCode error = U_ZERO_ERROR;
  const std::unique_ptr<UText, CloseText> utext(
      utext_openUTF8(nullptr, text.data(), static_cast<int64_t>(text.size()), &error));
  breaks.setText(utext.get(), error);
  Check(error, "text");
  int32_t begin = breaks.first();
  for (int32_t end = breaks.next(); end != BreakIterator::DONE; begin = end, end = breaks.next())
    piece(static_cast<size_t>(begin), static_cast<size_t>(end), breaks);
}

constexpr uint32_t kNumber = U_GC_ND_MASK | U_GC_NL_MASK | U_GC_NO_MASK;

// Whether a word may end between two characters; -1: the text's edge.
bool Border(int32_t before, int32_t after) {
  if (before < 0 || after < 0 || !IsWordCharacter(before) || !IsWordCharacter(after)) return true;
  return WritesWithoutSpaces(before) || WritesWithoutSpaces(after);
}

int32_t CharacterAt(std::string_view text, size_t at) {
  if (at >= text.size()) return -1;
  UChar32 character = 0;
  U8_NEXT(text.data(), at, text.size(), character);
  return character;
}

// FoldForms with white space as one space, none at the ends, and apostrophes of all kinds as '.
std::string FoldPhrase(std::string_view text) {
  const std::string folded = FoldForms(text);
  std::string phrase;
  ForEachCharacter(folded, [&](int32_t character, size_t begin, size_t end) {
    if (character >= 0 && u_isUWhiteSpace(character)) {
      if (!phrase.empty() && phrase.back() != ' ') phrase += ' ';
    } else if (character == 0x2018 || character == 0x2019 || character == 0x02bc) {
      phrase += '\'';
    } else {
      phrase.append(folded, begin, end - begin);
    }
  });
  if (!phrase.empty() && phrase.back() == ' ') phrase.pop_back();
  return phrase;
}

}  // namespace

void ForEachWord(std::string_view text, absl::FunctionRef<void(size_t, size_t)> word) {
  // An iterator belongs to one thread.
  thread_local const std::unique_ptr<BreakIterator> breaks(WordBreaks().clone());
  TEMPER_CHECK(breaks != nullptr, "ICU: out of memory");
  ForEachPiece(*breaks, text, [&](size_t begin, size_t end, const BreakIterator& at) {
    if (at.getRuleStatus() != UBRK_WORD_NONE) word(begin, end);
  });
}

void ForEachSentence(std::string_view text, absl::FunctionRef<void(size_t, size_t)> sentence) {
  thread_local const std::unique_ptr<BreakIterator> breaks(SentenceBreaks().clone());
  TEMPER_CHECK(breaks != nullptr, "ICU: out of memory");
  ForEachPiece(*breaks, text, [&](size_t begin, size_t end, const BreakIterator&) { sentence(begin, end); });
}

void ForEachCharacter(std::string_view text, absl::FunctionRef<void(int32_t, size_t, size_t)> character) {
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    UChar32 c = 0;
    U8_NEXT(text.data(), at, text.size(), c);
    character(c, begin, at);
  }
}

bool IsWordCharacter(int32_t character) {
  return character == '_' || (character >= 0 && (U_GET_GC_MASK(character) & (U_GC_L_MASK | kNumber)) != 0);
}

bool WritesWithoutSpaces(int32_t character) {
  if (character < 0) return false;
  UErrorCode error = U_ZERO_ERROR;
  return IsOneOf(uscript_getScript(character, &error),
                 {USCRIPT_HAN, USCRIPT_HIRAGANA, USCRIPT_KATAKANA, USCRIPT_THAI, USCRIPT_LAO, USCRIPT_KHMER,
                  USCRIPT_MYANMAR});
}

int64_t CountWordRuns(std::string_view text) {
  int64_t runs = 0;
  bool inside = false;
  ForEachCharacter(text, [&](int32_t character, size_t, size_t) {
    const bool word = IsWordCharacter(character);
    runs += word && !inside;
    inside = word;
  });
  return runs;
}

std::string_view TrimSpace(std::string_view text) {
  size_t first = text.size(), last = text.size();
  ForEachCharacter(text, [&](int32_t character, size_t begin, size_t end) {
    if (character >= 0 && (u_isUWhiteSpace(character) || (0x1c <= character && character <= 0x1f))) return;
    if (first == text.size()) first = begin;
    last = end;
  });
  return text.substr(first, last - first);
}

std::string FoldCase(std::string_view text) {
  std::string folded;
  icu::StringByteSink<std::string> sink(&folded);
  UErrorCode error = U_ZERO_ERROR;
  icu::CaseMap::utf8Fold(0, {text.data(), static_cast<int32_t>(text.size())}, sink, nullptr, error);
  Check(error, "case folding");
  return folded;
}

std::string FoldForms(std::string_view text) {
  std::string valid;
  ForEachCharacter(text, [&](int32_t character, size_t begin, size_t end) {
    if (character < 0) {
      valid += "\xef\xbf\xbd";
    } else {
      valid.append(text, begin, end - begin);
    }
  });
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* const forms = icu::Normalizer2::getNFKCCasefoldInstance(error);
  Check(error, "NFKC_Casefold");
  std::string folded;
  icu::StringByteSink<std::string> sink(&folded);
  forms->normalizeUTF8(0, valid, sink, nullptr, error);
  Check(error, "NFKC_Casefold of a text");
  return folded;
}

Phrases::Phrases(const std::vector<std::string>& phrases) {
  for (size_t i = 0; i < phrases.size(); ++i) {
    std::string folded = FoldPhrase(phrases[i]);
    if (!folded.empty()) phrases_.push_back({std::move(folded), static_cast<int64_t>(i), -1});
  }
  std::ranges::stable_sort(phrases_, {}, &Phrase::folded);
  const auto same = [](const Phrase& a, const Phrase& b) { return a.folded == b.folded; };
  phrases_.erase(std::unique(phrases_.begin(), phrases_.end(), same), phrases_.end());
  for (size_t i = 1; i < phrases_.size(); ++i) {
    int64_t prefix = static_cast<int64_t>(i) - 1;
    while (prefix >= 0 && !phrases_[i].folded.starts_with(phrases_[prefix].folded))
      prefix = phrases_[prefix].prefix;
    phrases_[i].prefix = prefix;
  }
}

int64_t Phrases::Find(std::string_view text) const {
  if (phrases_.empty()) return -1;
  const std::string folded = FoldPhrase(text);
  int64_t found = -1;
  int32_t before = -1;
  ForEachCharacter(folded, [&](int32_t character, size_t begin, size_t) {
    const bool starts = found < 0 && Border(before, character);
    before = character;
    if (!starts) return;
    // The last phrase that is not after the suffix; all phrases that the suffix begins with, it begins with.
    const std::string_view suffix = std::string_view(folded).substr(begin);
    const auto after = std::ranges::upper_bound(phrases_, suffix, {}, &Phrase::folded);
    for (int64_t i = after - phrases_.begin() - 1; i >= 0; i = phrases_[i].prefix) {
      const std::string& phrase = phrases_[i].folded;
      if (!suffix.starts_with(phrase)) continue;
      size_t last = phrase.size();
      while (last > 0 && (phrase[--last] & 0xc0) == 0x80) {
      }
      if (Border(CharacterAt(phrase, last), CharacterAt(suffix, phrase.size()))) {
        found = phrases_[i].index;
        return;
      }
    }
  });
  return found;
}

}  // namespace temper
