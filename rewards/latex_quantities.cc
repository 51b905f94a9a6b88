// SPDX-License-Identifier: Apache-2.0
// What stands behind a number: a fraction of a mixed number, units, words.
#include <array>
#include <utility>

#include "rewards/latex_commands.h"
#include "rewards/latex_parser.h"

namespace temper {
namespace {

using Kind = LatexTokenKind;
using Tree = ExpressionKind;

// 5 million: the zeros of words behind a number; 0: it is none of them.
int ZerosOf(std::string_view words) {
  const std::string_view first = words.substr(0, words.find_first_of(" ~"));
  constexpr std::pair<std::string_view, int> kWords[] = {
      {"hundred", 2}, {"thousand", 3}, {"million", 6}, {"billion", 9}, {"trillion", 12}};
  for (const auto& [word, zeros] : kWords) {
    if (first == word) return zeros;
  }
  return 0;
}

}  // namespace

// 2\frac12 and 2 1/2 behind the 2.
bool LatexParser::MixedNumber(std::vector<Expression>* factors) {
  const Kind kind = Peek().kind;
  if ((kind != Kind::kFraction && kind != Kind::kNumber) || !IsInteger(factors->back())) return false;
  if (factors->back().name == "-1") return false;
  Expression fraction;
  if (kind == Kind::kFraction) {
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
    if (ahead.Peek().kind != Kind::kDivide) return false;
    ahead.Skip();
    if (ahead.Peek().kind != Kind::kNumber) return false;
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
    if (token.kind != Kind::kWord && token.kind != Kind::kFunction) return false;
    if (token.kind == Kind::kFunction && !IsUnit(spelling)) return false;
    const bool upright = spelling.starts_with("\\");  // \text{m}
    if (spelling == "st" || spelling == "nd" || spelling == "rd" || spelling == "th") return !token.spaced;
    if (token.text.size() == 1) return (upright && token.text != "e" && token.text != "i") || !first;
    return IsUnit(spelling) || ZerosOf(token.text) > 0;
  };
  if (!unit(true) || !IsNumeric(factors->back())) return false;
  if (At(Kind::kFunction) && PeekSecond() == Kind::kOpen) return false;
  if (const int zeros = ZerosOf(Peek().text); zeros > 0) {
    factors->push_back(NumberNode("1" + std::string(zeros, '0')));
    lexer_.Skip();
    return true;
  }
  while (unit(true) || At(Kind::kText)) {
    if (At(Kind::kText) && ConjunctionOf(Peek().text) != 0) break;
    lexer_.Skip();
    if (Take(Kind::kCaret)) ParseExponent();
    if (At(Kind::kDivide) || At(Kind::kTimes)) {
      LatexLexer before = lexer_;
      lexer_.Skip();
      if (!unit(false) && !At(Kind::kText)) {
        lexer_ = before;
        break;
      }
      lexer_.Skip();
      if (Take(Kind::kCaret)) ParseExponent();
    }
  }
  if (At(Kind::kNumber)) Fail("two quantities");
  return true;
}

// A \text behind a value: a unit or a remark, if nothing follows it.
bool LatexParser::TakeText(std::vector<Expression>* factors) {
  if (const int zeros = ZerosOf(Peek().text); zeros > 0) {
    factors->push_back(NumberNode("1" + std::string(zeros, '0')));
    lexer_.Skip();
    return true;
  }
  if (factors->back().kind == Tree::kText) return false;
  const LatexLexer before = lexer_;
  while (At(Kind::kText) && ConjunctionOf(Peek().text) == 0) {
    lexer_.Skip();
    if (Take(Kind::kCaret)) ParseExponent();
    if (At(Kind::kDivide) && PeekSecond() == Kind::kText) lexer_.Skip();
  }
  if (At(Kind::kNumber)) {
    Fail("two quantities");
    return false;
  }
  if (!failed() && StartsFactor() && !(At(Kind::kText) && ConjunctionOf(Peek().text) != 0)) {
    lexer_ = before;
    return false;
  }
  return true;
}

}  // namespace temper
