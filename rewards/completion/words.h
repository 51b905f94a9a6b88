// SPDX-License-Identifier: Apache-2.0
// Text as people read it: sentences, words, letters without case. For any bytes, on any thread; what is no
// UTF-8 counts as U+FFFD.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"

namespace temper {

// Calls word(begin, end) for each word of ICU's word break (UAX #29, with dictionaries for Chinese, Japanese
// and Thai); punctuation and white space are none.
void ForEachWord(std::string_view text, absl::FunctionRef<void(size_t begin, size_t end)> word);

// Calls sentence(begin, end) for each sentence of ICU's sentence break (UAX #29; English abbreviations such
// as "Mr." and every line break known). Sentences cover the text.
void ForEachSentence(std::string_view text, absl::FunctionRef<void(size_t begin, size_t end)> sentence);

// Calls character(code point, begin, end); -1 for a byte that is no UTF-8.
void ForEachCharacter(std::string_view text, absl::FunctionRef<void(int32_t, size_t, size_t)> character);

// A letter, number or underscore of any script: \w of Python's `re`.
bool IsWordCharacter(int32_t character);
// Runs of these.
int64_t CountWordRuns(std::string_view text);

// Whether the character's script puts no spaces between words (Chinese, Japanese, Thai, ..).
bool WritesWithoutSpaces(int32_t character);

// Without Unicode's white space at both ends.
std::string_view TrimSpace(std::string_view text);

// Lower and upper case made equal (full case folding).
std::string FoldCase(std::string_view text);

// FoldCase, and compatible forms made equal (full-width letters, ligatures), characters that nobody sees left
// out (zero width, soft hyphens): Unicode's NFKC_Casefold.
std::string FoldForms(std::string_view text);

// Phrases to be found as whole words in the same spelling but for FoldForms, kinds of apostrophes, and white
// space, which is one space. A phrase that begins or ends with a character of a script without spaces
// (Chinese, Japanese, Thai) needs no border there.
class Phrases {
 public:
  explicit Phrases(const std::vector<std::string>& phrases);

  // The index of a phrase that stands in the text, of several one that begins first; -1: none.
  int64_t Find(std::string_view text) const;

 private:
  struct Phrase {
    std::string folded;
    int64_t index;   // as given
    int64_t prefix;  // the longest other phrase that it begins with; -1: none
  };
  std::vector<Phrase> phrases_;  // sorted
};

}  // namespace temper
