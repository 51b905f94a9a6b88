// SPDX-License-Identifier: Apache-2.0
// What stands behind a number: a fraction of a mixed number, units, words.
#include <algorithm>
#include <utility>

#include "rewards/latex_commands.h"
#include "rewards/latex_parser.h"

namespace temper {
namespace {

using TokenKind = LatexTokenKind;
using Tree = ExpressionKind;

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

// 5 tenths, 5 squared: words behind a value that make another one of it.
bool ChangesValue(std::string_view words) {
  constexpr std::string_view kWords[] = {"squared",   "cubed",      "factorial",  "tenth",       "tenths",
                                         "hundredth", "hundredths", "thousandth", "thousandths", "dozens",
                                         "hundreds",  "thousands",  "millions",   "billions"};
  return std::find(std::begin(kWords), std::end(kWords), FirstWord(words)) != std::end(kWords);
}

}  // namespace

// 2\frac12 and 2 1/2 behind the 2.
bool LatexParser::MixedNumber(std::vector<Expression>* factors) {
  const TokenKind kind = Peek().kind;
  if ((kind != TokenKind::kFraction && kind != TokenKind::kNumber) || !IsInteger(factors->back()))
    return false;
  if (factors->back().name == "-1") return false;
  Expression fraction;
  if (kind == TokenKind::kFraction) {
    fraction = ParsePostfix();
    const bool plain = fraction.kind == Tree::kMultiply && fraction.args.size() == 2 &&
                       IsInteger(fraction.args[0]) && fraction.args[1].kind == Tree::kPower &&
                       IsInteger(fraction.args[1].args[0]);
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
    if (!IsInteger(over) || !IsInteger(under)) {
      Fail("a number behind a number");
      return false;
    }
    fraction = Quotient(std::move(over), std::move(under));
  }
  Expression whole = std::move(factors->back());
  factors->back() = Node(Tree::kAdd, "", std::move(whole), std::move(fraction));
  return true;
}

// cm, km/h, \mathrm{m}^2, square miles, percent's place behind a number.
bool LatexParser::TakeUnits(std::vector<Expression>* factors) {
  const auto unit = [&](bool first) {
    const LatexToken& token = Peek();
    const std::string_view spelling = lexer_.text().substr(token.begin, token.end - token.begin);
    if (token.kind != TokenKind::kWord && token.kind != TokenKind::kFunction) return false;
    if (token.kind == TokenKind::kFunction && !IsUnit(spelling)) return false;
    const bool upright = spelling.starts_with("\\");  // \text{m}
    if (spelling == "st" || spelling == "nd" || spelling == "rd" || spelling == "th") return !token.spaced;
    if (token.text.size() == 1) return (upright && token.text != "e" && token.text != "i") || !first;
    return IsUnit(spelling) || !MultipleOf(token.text).empty();
  };
  if (!unit(true) || !IsNumeric(factors->back())) return false;
  if (At(TokenKind::kFunction) && PeekSecond() == TokenKind::kOpen) return false;
  if (const std::string_view multiple = MultipleOf(Peek().text); !multiple.empty()) {
    factors->push_back(NumberNode(std::string(multiple)));
    lexer_.Skip();
    return true;
  }
  while (unit(true) || At(TokenKind::kText)) {
    if (At(TokenKind::kText) && ConjunctionOf(Peek().text) != 0) break;
    lexer_.Skip();
    if (Take(TokenKind::kCaret)) ParseExponent();
    if (At(TokenKind::kDivide) || At(TokenKind::kTimes)) {
      LatexLexer before = lexer_;
      lexer_.Skip();
      if (!unit(false) && !At(TokenKind::kText)) {
        lexer_ = before;
        break;
      }
      lexer_.Skip();
      if (Take(TokenKind::kCaret)) ParseExponent();
    }
  }
  if (At(TokenKind::kNumber)) Fail("two quantities");
  return true;
}

// A \text behind a value: a unit or a remark, if nothing follows it.
bool LatexParser::TakeText(std::vector<Expression>* factors) {
  if (const std::string_view multiple = MultipleOf(Peek().text); !multiple.empty()) {
    factors->push_back(NumberNode(std::string(multiple)));
    lexer_.Skip();
    return true;
  }
  if (factors->back().kind == Tree::kText) return false;
  if (ChangesValue(Peek().text)) {
    Fail("words that make another value");
    return false;
  }
  const LatexLexer before = lexer_;
  while (At(TokenKind::kText) && ConjunctionOf(Peek().text) == 0) {
    lexer_.Skip();
    if (Take(TokenKind::kCaret)) ParseExponent();
    if (At(TokenKind::kDivide) && PeekSecond() == TokenKind::kText) lexer_.Skip();
  }
  if (At(TokenKind::kNumber)) {
    Fail("two quantities");
    return false;
  }
  if (!failed() && StartsFactor() && !(At(TokenKind::kText) && ConjunctionOf(Peek().text) != 0)) {
    lexer_ = before;
    return false;
  }
  return true;
}

}  // namespace temper
