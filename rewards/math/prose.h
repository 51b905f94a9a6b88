// SPDX-License-Identifier: Apache-2.0
// What the words around an answer say. All are linear in the text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rewards/math/spans.h"

namespace temper::math {

// Whether a text is a sentence, or has a formula in it, rather than being one: two words or more that are no
// commands, or four letters of another alphabet in a row.
bool IsProse(std::string_view text, const std::vector<Span>& formulas);

// Behind the last "answer is", "answer:" and the like; empty: there is none.
std::string_view BehindAnchor(std::string_view text);

// The last sentence that begins with Therefore, Thus, Hence or So; empty: none does.
std::string_view Conclusion(std::string_view text);

// Up to its first full stop, line end or (where a text `exclaims`) exclamation mark outside of formulas.
std::string_view FirstSentence(std::string_view text, const std::vector<Span>& formulas, bool exclaims);

// Without the words at its beginning that change nothing: exactly, therefore, about, equal to.
std::string_view WithoutFillers(std::string_view text);

// Up to ", since ..", " because ..", ", which ..": what comes there is no answer.
std::string_view BeforeReason(std::string_view sentence, const std::vector<Span>& formulas);

// The word that a text ends with, also isn't; a text without what of `tail` it ends with; its last 80 bytes
// in small letters.
std::string_view LastWord(std::string_view text);
std::string_view WithoutTail(std::string_view text, std::string_view tail);
std::string LowerTail(std::string_view text);

struct FoundNumber {
  std::string text;
  size_t begin = 0;
};

// The last number of a text, with a percent sign behind it; none inside a word (v2, AZY2A).
std::optional<FoundNumber> LastNumber(std::string_view text);

}  // namespace temper::math
