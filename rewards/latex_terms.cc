// SPDX-License-Identifier: Apache-2.0
// Sums, products and powers.
#include <array>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "rewards/latex_commands.h"
#include "rewards/latex_parser.h"
#include "rewards/tags.h"

namespace temper {
namespace {

using Kind = LatexTokenKind;
using Tree = ExpressionKind;

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

Expression LatexParser::ParseSum() {
  Expression sum = ParseProduct();
  while (!failed() && !Done()) {
    const Kind kind = Peek().kind;
    if (kind != Kind::kPlus && kind != Kind::kMinus && kind != Kind::kPlusMinus && kind != Kind::kMinusPlus)
      break;
    lexer_.Skip();
    Expression term = ParseProduct();
    if (kind == Kind::kMinus && IsSetLike(sum) && IsSetLike(term)) {
      sum = Nested(Node(Tree::kDifference, "", std::move(sum), std::move(term)));
    } else if (kind == Kind::kPlusMinus || kind == Kind::kMinusPlus) {
      if (kind == Kind::kMinusPlus) term = Negative(std::move(term));
      sum = Nested(Node(Tree::kPlusMinus, "", Scalar(std::move(sum)), Scalar(std::move(term))));
    } else {
      if (kind == Kind::kMinus) term = Negative(std::move(term));
      if (sum.kind != Tree::kAdd) sum = Node(Tree::kAdd, "", Scalar(std::move(sum)));
      sum.args.push_back(Scalar(std::move(term)));
    }
  }
  return sum;
}

// The argument of a function without brackets ends before the next function, so before the * or / in between.
bool LatexParser::FunctionFollows() {
  if (!context_.in_function) return false;
  const Kind next = PeekSecond();
  return next == Kind::kFunction || next == Kind::kBig;
}

Expression LatexParser::ParseProduct() {
  std::vector<Expression> factors;
  factors.push_back(ParseSigned());
  while (!failed() && !Done()) {
    const Kind kind = Peek().kind;
    if (kind == Kind::kColon && context_.colon) {
      factors = {ParseRatio(Product(std::move(factors)))};
      continue;
    }
    if (kind != Kind::kTimes && kind != Kind::kDivide && kind != Kind::kMod) break;
    if (FunctionFollows()) break;
    lexer_.Skip();
    Expression operand = ParseSigned();
    if (kind == Kind::kMod) {
      factors = {Nested(Node(Tree::kFunction, "mod", Product(std::move(factors)), std::move(operand)))};
    } else if (kind == Kind::kDivide) {
      factors.push_back(Inverse(std::move(operand)));
    } else if (!(Done() && operand == NumberNode("1"))) {  // 3 \cdot dx
      factors.push_back(std::move(operand));
    }
  }
  return Product(std::move(factors));
}

// a : b is a quotient, a : b : c is not.
Expression LatexParser::ParseRatio(Expression first) {
  Expression ratio = Node(Tree::kFunction, "ratio", std::move(first));
  while (Take(Kind::kColon)) ratio.args.push_back(ParseSigned());
  if (ratio.args.size() == 2) return Nested(Quotient(std::move(ratio.args[0]), std::move(ratio.args[1])));
  return Nested(std::move(ratio));
}

Expression LatexParser::ParseSigned() {
  bool negative = false, both = false;
  for (; true; lexer_.Skip()) {
    const Kind kind = Peek().kind;
    negative = negative != (kind == Kind::kMinus || kind == Kind::kMinusPlus);
    both = both || kind == Kind::kPlusMinus || kind == Kind::kMinusPlus;
    if (kind != Kind::kPlus && kind != Kind::kMinus && kind != Kind::kPlusMinus && kind != Kind::kMinusPlus)
      break;
  }
  Expression value = ParseImplicit();
  if (negative) value = Negative(std::move(value));
  return both ? Node(Tree::kPlusMinus, "", Scalar(std::move(value))) : value;
}

// Factors side by side, with mixed numbers, percent and units.
Expression LatexParser::ParseImplicit() {
  std::vector<Expression> factors;
  factors.push_back(ParsePostfix());
  while (!failed() && !Done()) {
    const Kind kind = Peek().kind;
    if (Take(Kind::kPercent)) {
      Expression product = Nested(Node(Tree::kPercent, "", Product(std::move(factors))));
      factors.clear();
      factors.push_back(std::move(product));
      continue;
    }
    if (TakeUnits(&factors) || MixedNumber(&factors)) continue;
    if (kind == Kind::kText) {
      if (ConjunctionOf(Peek().text) != 0) break;
      if (TakeText(&factors)) continue;
    }
    if (!StartsFactor()) break;
    if (kind == Kind::kFunction && context_.in_function) break;
    if (kind == Kind::kNumber && factors.back().kind == Tree::kNumber) {
      return Fail("a number behind a number");
    }
    Expression factor = ParsePostfix();
    if (!(Done() && factor == NumberNode("1"))) factors.push_back(std::move(factor));
  }
  return Product(std::move(factors));
}

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
  if (!failed() && StartsFactor() && !(At(Kind::kText) && ConjunctionOf(Peek().text) != 0)) {
    lexer_ = before;
    return false;
  }
  return true;
}

bool LatexParser::StartsFactor() {
  switch (Peek().kind) {
    case Kind::kNumber:
    case Kind::kWord:
    case Kind::kSymbol:
    case Kind::kConstant:
    case Kind::kNumberSet:
    case Kind::kEmptySet:
    case Kind::kFunction:
    case Kind::kText:
    case Kind::kFraction:
    case Kind::kBinomial:
    case Kind::kRoot:
    case Kind::kRadical:
    case Kind::kBig:
    case Kind::kAccent:
    case Kind::kName:
    case Kind::kBoxed:
    case Kind::kBegin:
    case Kind::kDots:
    case Kind::kPartial:
      return true;
    case Kind::kOpen:
      if (french_ && Peek().text == "[") return false;
      return !(Peek().text == "(" && PeekSecond() == Kind::kMod);
    case Kind::kBar:
      return BarStarts();
    default:
      return false;
  }
}

// A bar behind an operand: closes the last one that is open, else opens, if there is one to close it. Where a
// factor follows it may also open another: `flips_` says.
bool LatexParser::BarStarts() {
  const size_t begin = Peek().begin;
  LatexLexer ahead = lexer_;
  ahead.Skip();
  if (context_.bars == 0) {
    int depth = 0;
    for (; depth >= 0; ahead.Skip()) {
      const LatexToken& token = ahead.Peek();
      if (token.kind == Kind::kEnd || token.kind == Kind::kError) return false;
      if (token.kind == Kind::kBar && depth == 0) return context_.colon;
      depth += token.kind == Kind::kOpen ? 1 : token.kind == Kind::kClose ? -1 : 0;
    }
    return false;
  }
  switch (ahead.Peek().kind) {
    case Kind::kNumber:
    case Kind::kWord:
    case Kind::kSymbol:
    case Kind::kConstant:
    case Kind::kFunction:
    case Kind::kOpen:
    case Kind::kBar:
    case Kind::kFraction:
    case Kind::kRoot:
      break;
    default:
      return false;
  }
  size_t index = 0;
  while (index < unclear_bars_.size() && unclear_bars_[index] != begin) ++index;
  if (index == unclear_bars_.size()) unclear_bars_.push_back(begin);
  return index < 32 && (flips_ >> index & 1) != 0;
}

Expression LatexParser::ParsePostfix() {
  Expression value = ParseAtom();
  bool powered = false;  // a symbol with an exponent
  while (!failed()) {
    const LatexToken& token = Peek();
    const bool symbol = value.kind == Tree::kSymbol;
    if (token.kind == Kind::kUnder) {
      lexer_.Skip();
      value = Subscript(std::move(value), powered);
    } else if (token.kind == Kind::kPrime) {
      if (!symbol) return Fail("a prime behind no symbol");
      value.name += "'";
      lexer_.Skip();
    } else if (token.kind == Kind::kBang) {
      value = Factorial(std::move(value));
    } else if (token.kind == Kind::kDegree) {
      lexer_.Skip();
      value = Degrees(std::move(value));
    } else if (token.kind == Kind::kCaret) {
      lexer_.Skip();
      if (TakeSpecialExponent(&value)) continue;
      Expression exponent = ParseExponent();
      value = Nested(Node(Tree::kPower, "", Scalar(std::move(value)), std::move(exponent)));
      powered = symbol;
    } else if ((symbol || powered) && At(Kind::kOpen, "(") &&
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
  for (; Take(Kind::kBang); ++count) {
  }
  if (count == 2) return Nested(Node(Tree::kFunction, "double_factorial", Scalar(std::move(value))));
  for (; count > 0; --count) value = Nested(Node(Tree::kFunction, "factorial", Scalar(std::move(value))));
  return value;
}

// Behind ^: x^2, x^-1, x^{..}, x^\frac12, x^2^3.
Expression LatexParser::ParseExponent() {
  const Deeper deeper(this);
  bool negative = false;
  for (; At(Kind::kMinus) || At(Kind::kPlus); lexer_.Skip()) negative = negative != At(Kind::kMinus);
  Expression exponent;
  if (At(Kind::kOpen, "group")) {
    exponent = ParseArgument();
  } else {
    if (At(Kind::kWord)) lexer_.Narrow();
    exponent = ParseAtom();
  }
  if (Take(Kind::kCaret)) exponent = Node(Tree::kPower, "", std::move(exponent), ParseExponent());
  return negative ? Negative(std::move(exponent)) : exponent;
}

// Behind ^: degrees, primes, conjugates, transposes, 5^{th}, 0^+, R^+. False: an exponent.
bool LatexParser::TakeSpecialExponent(Expression* base) {
  LatexLexer ahead = lexer_;
  const bool group = ahead.Peek().kind == Kind::kOpen && ahead.Peek().text == "group";
  std::string_view mark;
  if (group) {
    mark = Trim(ahead.Raw());
  } else {
    const LatexToken& token = ahead.Peek();
    mark = lexer_.text().substr(token.begin, token.end - token.begin);
    if (!(mark.starts_with("\\") || mark == "*" || mark == "+" || mark == "-" || mark == "'" || mark == "T"))
      return false;
    ahead.Skip();
    // x^-1, x^+2
    const Kind next = ahead.Peek().kind;
    if ((mark == "+" || mark == "-") && next != Kind::kEnd && next != Kind::kClose) return false;
  }
  const bool matrix = base->kind == Tree::kMatrix;
  if (mark == "\\circ" || mark == "\\degree" || mark == "o") {
    if (mark == "o" && base->kind != Tree::kNumber) return false;
    lexer_ = ahead;
    *base = Degrees(std::move(*base));
  } else if (mark == "\\prime" || mark == "'" || mark == "\\prime\\prime" || mark == "''") {
    if (base->kind != Tree::kSymbol) return false;
    lexer_ = ahead;
    base->name += mark.size() == 1 || mark == "\\prime" ? "'" : "''";
  } else if (mark == "*" || mark == "\\ast") {
    lexer_ = ahead;
    *base = Nested(Node(Tree::kFunction, "conjugate", std::move(*base)));
  } else if (mark == "\\top" || mark == "\\intercal" || mark == "\\mathsf{T}" ||
             (matrix && (mark == "T" || mark == "\\mathrm{T}" || mark == "\\text{T}"))) {
    lexer_ = ahead;
    *base = Nested(Node(Tree::kFunction, "transpose", std::move(*base)));
  } else if (mark == "+" || mark == "-") {
    const bool numbers = base->kind == Tree::kConstant && IsSetLike(*base);
    if (!numbers && side_ == nullptr) return false;
    lexer_ = ahead;
    if (numbers) base->name += "^" + std::string(mark);
    if (!numbers) *side_ = std::string(mark);
  } else if (base->kind == Tree::kNumber && group) {
    const std::string name = PlainName(mark);
    if (name != "th" && name != "st" && name != "nd" && name != "rd") return false;
    lexer_ = ahead;
  } else {
    return false;
  }
  return true;
}

// Behind _ of `base`.
Expression LatexParser::Subscript(Expression base, bool powered) {
  Expression* symbol = powered ? &base.args[0] : &base;
  const std::string name = SubscriptName();
  if (symbol->kind == Tree::kNumber) {
    if (name.empty() || name.find_first_not_of("0123456789") != name.npos || name.size() > 3) {
      return Fail("a number with a subscript that is no base");
    }
    return Nested(Node(Tree::kFunction, "base", std::move(base), NumberNode(name)));
  }
  const bool letter = symbol->kind == Tree::kConstant && (symbol->name.size() == 1 || symbol->name == "pi");
  if (letter && !IsSetLike(*symbol)) symbol->kind = Tree::kSymbol;
  if (symbol->kind != Tree::kSymbol && symbol->kind != Tree::kText && !letter) {
    return Fail("a subscript behind no symbol");
  }
  if (!name.empty()) absl::StrAppend(&symbol->name, "_", name);
  return base;
}

std::string LatexParser::SubscriptName() {
  if (At(Kind::kOpen, "group")) return PlainName(lexer_.Raw());
  if (At(Kind::kWord) || At(Kind::kFunction)) lexer_.Narrow();
  const LatexToken token = Peek();
  if (token.kind == Kind::kEnd || token.kind == Kind::kError || token.kind == Kind::kClose) {
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
  if (At(Kind::kWord, "C") || At(Kind::kWord, "F")) lexer_.Skip();
  if (trigonometric_ == 0) return value;
  std::vector<Expression> factors;
  factors.push_back(std::move(value));
  factors.push_back({Tree::kConstant, "pi", {}});
  factors.push_back(Inverse(NumberNode("180")));
  return Product(std::move(factors));
}

}  // namespace temper
