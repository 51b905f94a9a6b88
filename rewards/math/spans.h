// SPDX-License-Identifier: Apache-2.0
// Where boxes and formulas stand in a text. All are linear in the text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace temper::math {

struct Span {
  size_t begin = 0, end = 0;              // with its delimiters or command
  size_t inner_begin = 0, inner_end = 0;  // without
};

// With the backslashes that JSON or Python took for escapes (a form feed before "rac" was \f of \frac; so
// with \b, \t, \r and \v), and the digits of other scripts as ASCII.
std::string Restored(std::string_view text);

// Of every \boxed{..} and \fbox{..} whose braces close; also \boxed 5. In order, none inside another.
std::vector<Span> Boxes(std::string_view text);

// Of every $..$, $$..$$, \(..\), \[..\] and bare matrix, in order.
std::vector<Span> Formulas(std::string_view text);

// Whether nothing but numbers, signs, "and" and "or" stands beside the formulas, so that the whole is one.
bool IsOneFormula(std::string_view text, const std::vector<Span>& formulas);

// $ or \( with a line end right behind it: TeX's displayed formulas are other signs, and math-verify reads
// none here.
bool IsBroken(std::string_view text, const Span& formula);

// The inside of the last of `spans` (one or more), and of those before it that belong to it (in one of
// `formulas`, or with "and", "or", commas between), parted by commas.
std::string Joined(std::string_view text, const std::vector<Span>& spans, const std::vector<Span>& formulas);

}  // namespace temper::math
