// SPDX-License-Identifier: Apache-2.0
// LaTeX, or mathematics typed without it (x^2+1, sqrt(2), ½, π), to an Expression: nothing is evaluated, but
// every number stays exact. Where the two differ, the text is read as math-verify 0.9 reads it.
//
// kFunction nodes, by name and args:
//   sin cos tan cot sec csc sinh cosh tanh coth sech csch   x; with a power -1 they are the next ones
//   arcsin arccos arctan arccot arcsec arccsc arcsinh arccosh arctanh arccoth arcsech arccsch   x
//   exp abs floor ceil factorial sign re im arg conjugate gamma erf det trace rank dim deg ker    x
//   double_factorial n      norm v      transpose A
//   log            x (natural), or base, x: \log and \lg have base 10
//   binomial n, k     mod a, n     gcd lcm max min   1 or more
//   sum product    body, index, low, high; or body, condition
//   integral       body, variable; or body, variable, low, high
//   limit          body, variable, point; or also kText "+" or "-", the side that the variable comes from
//   derivative     body, variable, order (a kNumber)
//   set_builder    element, condition..
//   piecewise      kTuple (value, condition) each; the last may be a kTuple of the value alone
//   given          a, b of P(a | b), or a divides b      ratio   a : b : c, 3 or more (a : b is a quotient)
//   base           204_5 is 204, 5
//   date           month, day, year; 0 where one is not said
//   amounts        2, hour, 30, minute
//   time           hours (0 to 23), minutes; clock: the same of 9:00, of which AM or PM is not said
//   any other      a function with the name as written, primes behind it: f, f', f^-1, foo of \operatorname
//
// Ambiguities:
//   (a, b)     kTuple; kInterval "()" only beside a union, intersection or difference, behind \in, or with
//              an infinite end. [a, b] is kInterval, [a, b, c] kTuple.
//   {a, b}     a kSet, with or without \ before the braces; {a} alone is a.
//   1,000      one number, but two inside brackets of a list; 1 000, 1\,000, 1{,}000 one everywhere.
//   2\frac12   a mixed number, as 2 1/2.
//   1/2x       1/(2x): what stands side by side binds stronger than / and \cdot.
//   \sin 2x/3  the sine of it all, up to the next + or function; \sin(2x)/3 and \sin{2x}/3 are not.
//   a(b)       a function's value where the brackets hold only symbols and numbers, else a product. f, g,
//              F, G, P and Gamma are always functions. e(2), pi(2), i(2) never are.
//   cis x      e^(i x)
//   e, i, I    the constants, but an index i of a sum is a symbol. E is a symbol, 1E5 a number.
//   abc        a product, but known words are not cut: sin, sqrt, pi, and, cm, ..; a text of words is kText.
//   degrees    dropped; inside a trigonometric function they are pi/180.
//   units      dropped behind a number, as a \text behind a value and words behind a space that keep it
//              (72 clips, 9 (apples); rewards/math/latex/quantity_words.h); so is a currency sign. 5 million
//              is a product; so is 5 m, but 5\,\mathrm{m} and 5 m/s are 5. Two numbers side by side are an
//              error, and so is 5 tenths.
//   12:00      a time where minutes begin with 0 or AM or PM follows, else 2:15 is a quotient
//   x=1, 2     x = kList(1, 2). Commas, "and", "or" between equations or values make a kList, between
//              inequalities kLogic. ; parts lists of lists (kTuple).
//   a = b (mod n)    a = mod(b, n)
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "rewards/math/expression.h"

namespace temper::math {

// Each bound makes an error, never a crash: the text in bytes, digits of one number, brackets and operators
// inside each other, nodes.
inline constexpr size_t kMaxLatexBytes = 4096;
inline constexpr size_t kMaxLatexDigits = 1000;
inline constexpr int kMaxLatexDepth = 64;
inline constexpr size_t kMaxLatexNodes = 8192;

// The whole text is one answer; $..$, \(..\), \[..\], \boxed{..}, ** and a full stop around it do not matter.
// Any bytes are allowed. The error says what is wrong and at which byte. Time is linear in the text, but that
// up to 4 bars | | whose roles are unclear may each be tried both ways.
struct LatexOptions {
  // Nothing in the text can be a product with letters: 12 h and 12 m/s are 12, 1e-3 is 0.001.
  bool letters_are_units = false;
  // Words that may stand behind a number though they are no unit and no plural: those of the reference.
  // nullopt: any word that does not change its value.
  std::optional<std::string_view> known_words;
};
absl::StatusOr<Expression> ParseLatex(std::string_view text, const LatexOptions& options = {});

// Without $..$, \(..\), \[..\], **..**, quotes and the like around it, and without a full stop behind it.
std::string_view Undress(std::string_view text);

}  // namespace temper::math
