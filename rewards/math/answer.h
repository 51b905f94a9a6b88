// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "rewards/math/expression.h"

namespace temper::math {

// The answer that a text gives, and what it was taken from.
struct MathAnswer {
  std::string text;       // as LaTeX; empty: none
  Expression expression;  // of it, where `parses`
  bool parses = false;
  const char* place = "";  // "boxed", "final answer", "formula", "number", "text"
  std::string error;       // why it does not parse
};

// How the reference is written, which decides what an answer means that can be read in two ways.
struct MathStyle {
  bool factorial = false;  // has one: then 5! in prose is a factorial, not a number and an exclamation mark
  bool number = false;     // one number: then 12 h is 12 with a unit, no product; 1,22 is 1.22; 1e-3 has no e
  std::optional<std::string> words;  // its text: words in it may stand beside an answer; nullopt: all may
};
MathStyle StyleOf(const MathAnswer& reference);

// Finds the answer of a text of any length, the thinking already cut off. In this order:
//   the last \boxed{..}, with those beside it in one formula or parted by "and" or a comma only;
//   the whole text, if it is one formula;
//   what follows the last "answer is", "answer:" or "####" (also in 18 other languages);
//   the last formula in $..$, \(..\) or \[..\], with those parted from it by "and" or a comma only;
//   the last number, fraction or percentage, or what the last "=" of the text is followed by.
// One answer is taken, never several to choose from: hedging does not pay. One that the text denies ("is not
// 5"), and a last \boxed{ without its end, do not parse; a last box that is empty is no answer.
MathAnswer FindMathAnswer(std::string_view text, const MathStyle& style = {});

// The reference answer of a dataset: the last \boxed{..}, else what follows the last "answer is", "answer:"
// or
// "####", else the whole as LaTeX, else the last formula in it. Free text is never searched for numbers.
MathAnswer ReadMathReference(std::string_view text);

}  // namespace temper::math
