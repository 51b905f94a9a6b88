// SPDX-License-Identifier: Apache-2.0
// What stands behind a number: a fraction of a mixed number, units, words.
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "core/one_of.h"
#include "rewards/math/latex/commands.h"
#include "rewards/math/latex/parser.h"
#include "rewards/math/latex/quantity_words.h"

namespace temper::math {
namespace {

// Enough of it: the words that count are short.
std::string_view FirstWord(std::string_view words) {
  words = words.substr(0, 16);
  return words.substr(0, words.find_first_of(" ~"));
}

// 5 million, 5 dozen: what words behind a number multiply it by; empty: they do not.
std::string_view MultipleOf(std::string_view words) {
  constexpr std::pair<std::string_view, std::string_view> kWords[] = {
      {"hundred", "100"},        {"thousand", "1000"},          {"million", "1000000"},
      {"billion", "1000000000"}, {"trillion", "1000000000000"}, {"dozen", "12"}};
  for (const auto& [word, multiple] : kWords) {
    if (FirstWord(words) == word) return multiple;
  }
  return "";
}

}  // namespace

// 2\frac12 and 2 1/2 behind the 2.
bool LatexParser::MixedNumber(std::vector<Expression>* factors) {
  const TokenKind kind = Peek().kind;
  if ((kind != TokenKind::kFraction && kind != TokenKind::kNumber) || !IsWhole(factors->back())) return false;
  if (IsMinusOne(factors->back())) return false;
  Expression fraction;
  if (kind == TokenKind::kFraction) {
    fraction = ParsePostfix();
    const bool plain = fraction.kind == Kind::kMultiply && fraction.args.size() == 2 &&
                       IsWhole(fraction.args[0]) && fraction.args[1].kind == Kind::kPower &&
                       IsWhole(fraction.args[1].args[0]);
    if (!plain) {
      factors->push_back(std::move(fraction));
      return true;
    }
  } else {
    LatexLexer ahead = lexer_;
    ahead.Skip();
    if (ahead.Peek().kind != TokenKind::kDivide) return false;
    ahead.Skip();
    if (ahead.Peek().kind != TokenKind::kNumber) return false;
    Expression over = ParseNumber();
    lexer_.Skip();
    Expression under = ParseNumber();
    if (!IsWhole(over) || !IsWhole(under)) {
      Fail("a number behind a number");
      return false;
    }
    fraction = Quotient(std::move(over), std::move(under));
  }
  Expression whole = std::move(factors->back());
  factors->back() = Node(Kind::kAdd, "", std::move(whole), std::move(fraction));
  return true;
}

// Whether the words from `begin` to `end` are dress of the value before them; else the parser fails.
bool LatexParser::KeptBy(const Expression& value, size_t begin, size_t end) {
  if (failed()) return false;
  while (begin > 0 && IsOneOf(lexer_.text()[begin - 1], " ~\\,;")) --begin;
  const std::string_view behind = lexer_.text().substr(begin, end - begin);
  if (KeepsValue(behind, IsWhole(value) ? std::string_view(value.name) : "", known_words_)) return true;
  Fail("words beside a number that may make another value");
  return false;
}

// Whether the reference has the word too.
bool LatexParser::Known(std::string_view word) const {
  return !known_words_ || known_words_->find(word) != known_words_->npos;
}

bool LatexParser::UnitText() { return At(TokenKind::kText) && IsUnit(FirstWord(Peek().text)); }

// Whether the letter here is a unit: m of m/s, and any that is one where letters are no factors.
bool LatexParser::LetterIsUnit() {
  constexpr std::string_view kLetters = "hsmgLlNJWVAKCFtTHd";
  constexpr std::string_view kLengths[] = {"m", "ft", "km", "cm", "mm", "mi", "in", "yd", "L", "N", "J"};
  constexpr std::string_view kTimes[] = {"s", "sec", "h", "hr", "min"};
  const LatexToken letter = Peek();
  LatexLexer ahead = lexer_;
  ahead.Skip();
  if (ahead.Peek().kind == TokenKind::kDivide && IsOneOf(letter.text, kLengths)) {
    ahead.Skip();
    if (IsOneOf(ahead.Peek().text, kTimes)) return true;
  }
  return letters_are_units_ && letter.spaced && kLetters.find(letter.text) != kLetters.npos;
}

// Whether the token here is a unit. `first`: behind a number, not behind another unit's / or \cdot.
bool LatexParser::UnitFollows(bool first) {
  const LatexToken& token = Peek();
  const std::string_view spelling = lexer_.text().substr(token.begin, token.end - token.begin);
  const bool upright = spelling.starts_with("\\");  // \text{m}
  const bool dressed = spelling.find('{') != spelling.npos;
  if (token.kind == TokenKind::kRelation) return dressed && token.text == "in";  // \mathrm{in}
  if (token.kind == TokenKind::kFunction) {
    if (!IsUnit(dressed ? token.text : spelling)) return false;
    LatexLexer before = lexer_;
    lexer_.Skip();
    const bool applied = !At(TokenKind::kText) && !At(TokenKind::kNumber) && StartsFactor();  // min(2, 3)
    lexer_ = before;
    return !applied;
  }
  if (token.kind == TokenKind::kText) return IsUnit(token.text);
  if (token.kind == TokenKind::kSymbol)
    return letters_are_units_ &&
           (token.text == "Omega" || (token.text == "mu" && PeekSecond() == TokenKind::kWord));
  if (token.kind != TokenKind::kWord) return false;
  if (IsOneOf(spelling, {"st", "nd", "rd", "th"})) return !token.spaced;
  if (token.text.size() == 1)
    return (upright && token.text != "e" && token.text != "i") || !first || LetterIsUnit();
  if (IsUnit(spelling) || !MultipleOf(token.text).empty()) return true;
  return token.spaced && (first || token.text.size() > 3) && IsEnglishWord(token.text);
}

// cm, km/h, \mathrm{m}^2, square miles, percent's place behind a number; clips, eggs.
bool LatexParser::TakeUnits(std::vector<Expression>* factors) {
  if (!IsNumeric(factors->back())) return false;
  const std::string_view rest = lexer_.text().substr(Peek().end);
  if (At(TokenKind::kFraction) && (rest.starts_with("{\\text{") || rest.starts_with("{\\mathrm{"))) {
    ParsePostfix();  // \frac{\text{m}}{\text{s}}
    return true;
  }
  if (!UnitFollows(true)) return false;
  if (const std::string_view multiple = MultipleOf(Peek().text); !multiple.empty()) {
    factors->push_back(NumberNode(std::string(multiple)));
    lexer_.Skip();
    return true;
  }
  const size_t begin = Peek().begin;
  const auto goes_on = [&] { return At(TokenKind::kWord) && Peek().spaced && Peek().text.size() > 1; };
  while (UnitFollows(true) || At(TokenKind::kText) || goes_on()) {
    if (At(TokenKind::kText) && ConjunctionOf(Peek().text) != 0) break;
    lexer_.Skip();
    if (Take(TokenKind::kCaret)) ParseExponent();
    while (At(TokenKind::kDivide) || At(TokenKind::kTimes)) {
      LatexLexer before = lexer_;
      lexer_.Skip();
      if (!UnitFollows(false) && !At(TokenKind::kText)) {
        lexer_ = before;
        break;
      }
      lexer_.Skip();
      if (Take(TokenKind::kCaret)) ParseExponent();
    }
  }
  if (At(TokenKind::kNumber)) Fail("two quantities");
  KeptBy(factors->back(), begin, lexer_.position());
  return true;
}

// (apples), (in degrees) behind a number: words in brackets.
bool LatexParser::TakeRemark(const Expression& value) {
  if (!At(TokenKind::kOpen, "(")) return false;
  const std::string_view text = lexer_.text().substr(Peek().end);
  const size_t close = text.find(')');
  if (close == text.npos || close > 60) return false;
  bool words = false;
  for (size_t at = 0; at < close;) {
    size_t end = at;
    while (end < close && absl::ascii_isalpha(text[end])) ++end;
    const std::string_view word = text.substr(at, end - at);
    if (word.empty() && !IsOneOf(text[at], " ^23/.-")) return false;
    words = words || IsUnit(word) || IsEnglishWord(word) || word == "degrees" || word == "percent";
    if (word.size() == 1 && !words) return false;
    at = std::max(end, at + 1);
  }
  if (!words) return false;
  const size_t begin = Peek().begin, end = Peek().end + close + 1;
  lexer_.Jump(end);
  KeptBy(value, begin, end);
  return true;
}

// A \text behind a value: a unit or a remark, if nothing follows it.
bool LatexParser::TakeText(std::vector<Expression>* factors) {
  if (const std::string_view multiple = MultipleOf(Peek().text); !multiple.empty()) {
    factors->push_back(NumberNode(std::string(multiple)));
    lexer_.Skip();
    return true;
  }
  if (factors->back().kind == Kind::kText) return false;
  const size_t begin = Peek().begin;
  const LatexLexer before = lexer_;
  while (At(TokenKind::kText) && ConjunctionOf(Peek().text) == 0) {
    lexer_.Skip();
    if (Take(TokenKind::kCaret)) ParseExponent();
    if (!At(TokenKind::kDivide)) continue;
    const LatexLexer divide = lexer_;
    lexer_.Skip();
    if (UnitFollows(false)) {  // ft/sec
      lexer_.Skip();
    } else if (!At(TokenKind::kText)) {
      lexer_ = divide;
    }
  }
  if (At(TokenKind::kNumber)) {
    Fail("two quantities");
    return false;
  }
  if (!failed() && StartsFactor() && !(At(TokenKind::kText) && ConjunctionOf(Peek().text) != 0)) {
    lexer_ = before;
    return false;
  }
  return KeptBy(factors->back(), begin, lexer_.position());
}

}  // namespace temper::math
