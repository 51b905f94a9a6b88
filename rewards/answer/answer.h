// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "data/trajectory.h"
#include "rewards/math/number.h"

namespace temper {

// What an answer is. A reference answer's kind decides how candidates are compared with it.
enum class AnswerKind { kNumber, kChoice, kText };

struct Answer {
  AnswerKind kind = AnswerKind::kText;
  math::Number number;  // kNumber
  char choice = 0;      // kChoice: 'A' to 'J'
  std::string text;     // in one plain form
};

constexpr size_t kMaxAnswerBytes = 4096;

// What an answer field holds: the part after the last `####` (GSM8K), inside the last \boxed{}, without `x =`
// of one letter; or all of it.
std::string_view Core(std::string_view answer);

// Reads a reference answer: a number, else an upper-case or bracketed letter A to J, else text. Nothing if it
// is empty or over kMaxAnswerBytes.
std::optional<Answer> ReadReference(std::string_view text);

// Whether a candidate answer is the reference: as a number, a choice, or text. Exact: hedged answers ("1 or
// 2", "B or C") are none of them.
bool SameAnswer(const Answer& reference, std::string_view candidate);

// The letter of a choice as people write one: B, b, (B), B., [B], "B) Paris", "option B", **B**; 0: none, or
// several.
char ReadChoice(std::string_view text);

// Finds an answer of the reference's kind where no tags say where it is: the last <answer>..</answer>, the
// last \boxed{}, the last `####`, then the last number or choice (text: what follows the last "answer is",
// else the last line); first in what follows the thinking, else anywhere. Empty: none.
std::string FindAnswer(std::string_view text, AnswerKind kind);

// One spelling of each answer, for majority votes.
std::string AnswerKey(std::string_view answer);

}  // namespace temper
