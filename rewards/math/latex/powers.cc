// SPDX-License-Identifier: Apache-2.0
// Powers, subscripts and what else stands behind an operand.
#include <utility>

#include "absl/strings/ascii.h"
#include "core/one_of.h"
#include "rewards/completion/tags.h"
#include "rewards/math/latex/parser.h"

namespace temper::math {
namespace {

// Letters that a subscript is named by: without dress.
std::string PlainName(std::string_view raw) {
  std::string name;
  for (size_t at = 0; at < raw.size(); ++at) {
    if (raw[at] == '\\') {
      for (const std::string_view dress :
           {"\\text", "\\mathrm", "\\textrm", "\\mathit", "\\rm", "\\,", "\\ "}) {
        if (raw.substr(at).starts_with(dress)) {
          at += dress.size() - 1;
          break;
        }
      }
    } else if (raw[at] != '{' && raw[at] != '}' && !absl::ascii_isspace(raw[at])) {
      name += raw[at];
    }
  }
  return name;
}

// The digits of (2), two.
std::string BaseOf(std::string_view name) {
  constexpr std::string_view kWords[] = {"",    "",      "two",   "three", "four", "five",
                                         "six", "seven", "eight", "nine",  "ten"};
  if (name.starts_with('(') && name.ends_with(')')) name = name.substr(1, name.size() - 2);
  for (size_t i = 2; i < std::size(kWords); ++i) {
    if (name == kWords[i]) return std::to_string(i);
  }
  return name == "twelve" ? "12" : name == "sixteen" ? "16" : std::string(name);
}

}  // namespace

Expression LatexParser::ParsePostfix() {
  Expression value = ParseAtom();
  bool powered = false;  // a symbol with an exponent
  while (!failed()) {
    const LatexToken& token = Peek();
    const bool symbol = value.kind == Kind::kSymbol;
    if (token.kind == TokenKind::kUnder) {
      lexer_.Skip();
      value = Subscript(std::move(value), powered);
    } else if (token.kind == TokenKind::kPrime) {
      if (!symbol) return Fail("a prime behind no symbol");
      value.name += "'";
      lexer_.Skip();
    } else if (token.kind == TokenKind::kBang) {
      value = Factorial(std::move(value));
    } else if (token.kind == TokenKind::kDegree) {
      lexer_.Skip();
      value = Degrees(std::move(value));
    } else if (token.kind == TokenKind::kCaret) {
      lexer_.Skip();
      if (TakeSpecialExponent(&value)) continue;
      Expression exponent = ParseExponent();
      value = Nested(Node(Kind::kPower, "", ScalarOf(std::move(value)), std::move(exponent)));
      powered = symbol;
    } else if ((symbol || powered) && At(TokenKind::kOpen, "(") &&
               IsApplication(powered ? value.args[0] : value)) {
      value = ParseApplication(std::move(value), powered);
      powered = false;
    } else {
      break;
    }
  }
  return value;
}

// n!!, but n!!! is ((n!)!)!.
Expression LatexParser::Factorial(Expression value) {
  int count = 0;
  for (; Take(TokenKind::kBang); ++count) {
  }
  if (count == 2) return Nested(Node(Kind::kFunction, "double_factorial", ScalarOf(std::move(value))));
  for (; count > 0; --count) value = Nested(Node(Kind::kFunction, "factorial", ScalarOf(std::move(value))));
  return value;
}

// Behind ^: x^2, x^-1, x^{..}, x^\frac12, x^2^3.
Expression LatexParser::ParseExponent() {
  const Deeper deeper(this);
  const bool negative = TakeSigns();
  Expression exponent;
  if (At(TokenKind::kOpen, "group")) {
    exponent = ParseArgument();
  } else {
    if (At(TokenKind::kWord)) lexer_.Narrow();
    exponent = ParseAtom();
  }
  if (Take(TokenKind::kCaret)) exponent = Node(Kind::kPower, "", std::move(exponent), ParseExponent());
  return negative ? Negative(std::move(exponent)) : exponent;
}

// Behind ^: degrees, primes, conjugates, transposes, 5^{th}, 0^+, R^+. False: an exponent.
bool LatexParser::TakeSpecialExponent(Expression* base) {
  LatexLexer ahead = lexer_;
  const bool group = ahead.Peek().Is(TokenKind::kOpen, "group");
  std::string_view mark;
  if (group) {
    mark = Trim(ahead.Raw());
  } else {
    const LatexToken& token = ahead.Peek();
    mark = lexer_.text().substr(token.begin, token.end - token.begin);
    if (!(mark.starts_with("\\") || IsOneOf(mark, {"*", "+", "-", "'", "T"}))) return false;
    ahead.Skip();
    // x^-1, x^+2
    const TokenKind next = ahead.Peek().kind;
    if ((mark == "+" || mark == "-") && next != TokenKind::kEnd && next != TokenKind::kClose) return false;
  }
  const bool matrix = base->kind == Kind::kMatrix;
  if (mark == "\\text{o}" || mark == "\\mathrm{o}") mark = "o";
  if (IsOneOf(mark, {"\\circ", "\\degree", "o"})) {
    if (mark == "o" && base->kind != Kind::kNumber) return false;
    lexer_ = ahead;
    *base = Degrees(std::move(*base));
  } else if (IsOneOf(mark, {"\\prime", "'", "\\prime\\prime", "''"})) {
    if (base->kind != Kind::kSymbol) return false;
    lexer_ = ahead;
    base->name += mark.size() == 1 || mark == "\\prime" ? "'" : "''";
  } else if (mark == "*" || mark == "\\ast") {
    lexer_ = ahead;
    *base = Nested(Node(Kind::kFunction, "conjugate", std::move(*base)));
  } else if (IsOneOf(mark, {"\\top", "\\intercal", "\\mathsf{T}"}) ||
             (matrix && IsOneOf(mark, {"T", "\\mathrm{T}", "\\text{T}"}))) {
    lexer_ = ahead;
    *base = Nested(Node(Kind::kFunction, "transpose", std::move(*base)));
  } else if (mark == "+" || mark == "-") {
    const bool numbers = base->kind == Kind::kConstant && IsSetLike(*base);
    if (!numbers && side_ == nullptr) return false;
    lexer_ = ahead;
    if (numbers) base->name += "^" + std::string(mark);
    if (!numbers) *side_ = std::string(mark);
  } else if (base->kind == Kind::kNumber && group) {
    const std::string name = PlainName(mark);
    if (!IsOneOf(name, {"th", "st", "nd", "rd"})) return false;
    if (!Known(name)) Fail("an ordinal");
    lexer_ = ahead;
  } else {
    return false;
  }
  return true;
}

// Behind _ of `base`.
Expression LatexParser::Subscript(Expression base, bool powered) {
  Expression* symbol = powered ? &base.args[0] : &base;
  std::string name = SubscriptName();
  if (symbol->kind == Kind::kNumber) {
    name = BaseOf(name);
    if (name.empty() || name.find_first_not_of("0123456789") != name.npos || name.size() > 3) {
      return Fail("a number with a subscript that is no base");
    }
    return Nested(Node(Kind::kFunction, "base", std::move(base), NumberNode(name)));
  }
  const bool letter = symbol->kind == Kind::kConstant && (symbol->name.size() == 1 || symbol->name == "pi");
  if (letter && !IsSetLike(*symbol)) symbol->kind = Kind::kSymbol;
  if (symbol->kind != Kind::kSymbol && symbol->kind != Kind::kText && !letter) {
    return Fail("a subscript behind no symbol");
  }
  if (!name.empty()) absl::StrAppend(&symbol->name, "_", name);
  return base;
}

std::string LatexParser::SubscriptName() {
  if (At(TokenKind::kOpen, "group")) return PlainName(lexer_.Raw());
  if (At(TokenKind::kWord) || At(TokenKind::kFunction)) lexer_.Narrow();
  const LatexToken token = Peek();
  if (IsOneOf(token.kind, {TokenKind::kEnd, TokenKind::kError, TokenKind::kClose})) {
    Fail("a subscript is missing");
    return "";
  }
  std::string name(lexer_.text().substr(token.begin, token.end - token.begin));
  lexer_.Skip();
  if (name == "-" || name == "+") {
    name += lexer_.text().substr(Peek().begin, Peek().end - Peek().begin);
    lexer_.Skip();
  }
  return PlainName(name);
}

Expression LatexParser::Degrees(Expression value) {
  if (At(TokenKind::kWord, "C") || At(TokenKind::kWord, "F")) lexer_.Skip();
  if (trigonometric_ == 0) return value;
  std::vector<Expression> factors;
  factors.push_back(std::move(value));
  factors.push_back({Kind::kConstant, "pi", {}});
  factors.push_back(Inverse(NumberNode("180")));
  return Product(std::move(factors));
}

}  // namespace temper::math
