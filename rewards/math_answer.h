// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "rewards/expression.h"

namespace temper {

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
  bool decimal = false;    // 1.22: then 1,22 is this number too, not two
  bool factorial = false;  // has one: then 5! in prose is a factorial, not a number and an exclamation mark
  bool number = false;     // no letter in it: then 12 h and 12 m are 12 with a unit, not products
};
MathStyle StyleOf(const MathAnswer& reference);

// Finds the answer of a text of any length, the thinking already cut off. In this order:
//   the last \boxed{..}, with those beside it in one formula or parted by "and" or a comma only;
//   the whole text, if it is one formula;
//   what follows the last "answer is", "answer:" or "####" (also in six other languages);
//   the last formula in $..$, \(..\) or \[..\], with those parted from it by "and" or a comma only;
//   the last number, fraction or percentage, or what the last "=" of the text is followed by.
// One answer is taken, never several to choose from: hedging does not pay. One that the text denies ("is not
// 5"), and a last \boxed{ without its end, do not parse; a last box that is empty is no answer.
MathAnswer FindMathAnswer(std::string_view text, const MathStyle& style = {});

// The reference answer of a dataset: the last \boxed{..}, else the whole as LaTeX, else the last formula in
// it. Free text is never searched.
MathAnswer ReadMathReference(std::string_view text);

}  // namespace temper
