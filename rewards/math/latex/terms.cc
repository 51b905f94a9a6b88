// SPDX-License-Identifier: Apache-2.0
// Sums and products.
#include <utility>

#include "absl/strings/ascii.h"
#include "core/one_of.h"
#include "rewards/math/latex/commands.h"
#include "rewards/math/latex/parser.h"
#include "rewards/math/latex/quantity_words.h"

namespace temper::math {

Expression LatexParser::ParseSum() {
  Expression sum = ParseProduct();
  while (!failed() && !Done()) {
    const TokenKind kind = Peek().kind;
    if (!IsOneOf(kind, {TokenKind::kPlus, TokenKind::kMinus, TokenKind::kPlusMinus, TokenKind::kMinusPlus}))
      break;
    lexer_.Skip();
    Expression term = ParseProduct();
    if (kind == TokenKind::kMinus && IsSetLike(sum) && IsSetLike(term)) {
      sum = Nested(Node(Kind::kDifference, "", std::move(sum), std::move(term)));
    } else if (kind == TokenKind::kPlusMinus || kind == TokenKind::kMinusPlus) {
      if (kind == TokenKind::kMinusPlus) term = Negative(std::move(term));
      sum = Nested(Node(Kind::kPlusMinus, "", ScalarOf(std::move(sum)), ScalarOf(std::move(term))));
    } else {
      if (kind == TokenKind::kMinus) term = Negative(std::move(term));
      if (sum.kind != Kind::kAdd) sum = Node(Kind::kAdd, "", ScalarOf(std::move(sum)));
      sum.args.push_back(ScalarOf(std::move(term)));
    }
  }
  return sum;
}

// The argument of a function without brackets ends before the next function, so before the * or / in between.
bool LatexParser::FunctionFollows() {
  if (!context_.in_function) return false;
  const TokenKind next = PeekSecond();
  return next == TokenKind::kFunction || next == TokenKind::kBig;
}

Expression LatexParser::ParseProduct() {
  std::vector<Expression> factors;
  factors.push_back(ParseSigned());
  while (!failed() && !Done()) {
    const TokenKind kind = Peek().kind;
    if (kind == TokenKind::kColon && context_.colon) {
      factors = {ParseRatio(Product(std::move(factors)))};
      continue;
    }
    if (!IsOneOf(kind, {TokenKind::kTimes, TokenKind::kDivide, TokenKind::kMod})) break;
    if (FunctionFollows()) break;
    lexer_.Skip();
    if (kind == TokenKind::kDivide && IsNumeric(factors.back()) && (UnitFollows(true) || UnitText())) {
      while (!failed() && (UnitFollows(true) || UnitText())) lexer_.Skip();  // $12/hour
      continue;
    }
    Expression operand = ParseSigned();
    if (kind == TokenKind::kMod) {
      factors = {Nested(Node(Kind::kFunction, "mod", Product(std::move(factors)), std::move(operand)))};
    } else if (kind == TokenKind::kDivide) {
      factors.push_back(Inverse(std::move(operand)));
    } else if (!(Done() && operand == NumberNode("1"))) {  // 3 \cdot dx
      factors.push_back(std::move(operand));
    }
  }
  return Product(std::move(factors));
}

// a : b is a quotient, a : b : c is not.
Expression LatexParser::ParseRatio(Expression first) {
  Expression ratio = Node(Kind::kFunction, "ratio", std::move(first));
  while (Take(TokenKind::kColon)) ratio.args.push_back(ParseSigned());
  if (ratio.args.size() == 2 && ratio.args[1] == NumberNode("1") && !Known(":")) return Fail("a ratio to 1");
  if (ratio.args.size() == 2) return Nested(Quotient(std::move(ratio.args[0]), std::move(ratio.args[1])));
  return Nested(std::move(ratio));
}

// Signs right before an operand, up to none; whether they make it negative.
bool LatexParser::TakeSigns() {
  bool negative = false;
  for (; At(TokenKind::kMinus) || At(TokenKind::kPlus); lexer_.Skip())
    negative = negative != At(TokenKind::kMinus);
  return negative;
}

Expression LatexParser::ParseSigned() {
  bool negative = false, both = false;
  // +-1 is how people type \pm 1.
  if (At(TokenKind::kPlus)) {
    lexer_.Skip();
    both = At(TokenKind::kMinus) && !Peek().spaced;
    if (both) lexer_.Skip();
  }
  for (; true; lexer_.Skip()) {
    const TokenKind kind = Peek().kind;
    negative = negative != (kind == TokenKind::kMinus || kind == TokenKind::kMinusPlus);
    both = both || kind == TokenKind::kPlusMinus || kind == TokenKind::kMinusPlus;
    if (!IsOneOf(kind, {TokenKind::kPlus, TokenKind::kMinus, TokenKind::kPlusMinus, TokenKind::kMinusPlus}))
      break;
  }
  Expression value = ParseImplicit();
  if (negative) value = Negative(std::move(value));
  return both ? Node(Kind::kPlusMinus, "", ScalarOf(std::move(value))) : value;
}

// Factors side by side, with mixed numbers, percent and units.
Expression LatexParser::ParseImplicit() {
  std::vector<Expression> factors;
  factors.push_back(ParsePostfix());
  while (!failed() && !Done()) {
    const TokenKind kind = Peek().kind;
    if (Take(TokenKind::kPercent)) {
      Expression product = Nested(Node(Kind::kPercent, "", Product(std::move(factors))));
      factors.clear();
      factors.push_back(std::move(product));
      continue;
    }
    if (TakeUnits(&factors) || MixedNumber(&factors)) continue;
    if (IsNumeric(factors.back()) && TakeRemark(factors.back())) continue;
    if (kind == TokenKind::kText) {
      if (ConjunctionOf(Peek().text) != 0) break;
      if (TakeText(&factors)) continue;
    }
    if (!StartsFactor()) break;
    if (kind == TokenKind::kFunction && context_.in_function) break;
    if (kind == TokenKind::kNumber && factors.back().kind == Kind::kNumber) {
      return Fail("a number behind a number");
    }
    const bool group = At(TokenKind::kOpen, "group");
    Expression factor = ParsePostfix();
    if (group && factor.kind == Kind::kText && IsUnit(factor.name) && IsNumeric(factors.back())) continue;
    if (!(Done() && factor == NumberNode("1"))) factors.push_back(std::move(factor));
  }
  return Product(std::move(factors));
}

bool LatexParser::StartsFactor() {
  const TokenKind kind = Peek().kind;
  if (kind == TokenKind::kBar) return BarStarts();
  if (kind == TokenKind::kOpen) {
    if (french_ && Peek().text == "[") return false;
    return !(Peek().text == "(" && PeekSecond() == TokenKind::kMod) && !ConditionFollows();
  }
  return IsOneOf(kind, {TokenKind::kNumber, TokenKind::kWord, TokenKind::kSymbol, TokenKind::kConstant,
                        TokenKind::kNumberSet, TokenKind::kEmptySet, TokenKind::kFunction, TokenKind::kText,
                        TokenKind::kFraction, TokenKind::kBinomial, TokenKind::kRoot, TokenKind::kRadical,
                        TokenKind::kBig, TokenKind::kAccent, TokenKind::kName, TokenKind::kBoxed,
                        TokenKind::kBegin, TokenKind::kDots, TokenKind::kPartial});
}

// Whether (k \in \mathbb{Z}) stands here, which says something of what stands before it.
bool LatexParser::ConditionFollows() {
  if (!At(TokenKind::kOpen, "(") || in_condition_) return false;
  const std::string_view text = lexer_.text().substr(Peek().end, 64);
  const std::string_view inside = text.substr(0, text.find_first_of("()"));
  const size_t in = inside.find("\\in");
  return inside.size() < text.size() && in != inside.npos && in + 3 < inside.size() &&
         !absl::ascii_isalpha(inside[in + 3]) && text[inside.size()] == ')';
}

// A bar behind an operand: closes the last one that is open, else opens, if there is one to close it. Where a
// factor follows it may also open another: `flips_` says.
bool LatexParser::BarStarts() {
  const size_t begin = Peek().begin;
  LatexLexer ahead = lexer_;
  ahead.Skip();
  if (context_.bars == 0) {
    int depth = 0;
    for (int tokens = 0; depth >= 0 && tokens < 256; ++tokens, ahead.Skip()) {
      const LatexToken& token = ahead.Peek();
      if (token.kind == TokenKind::kEnd || token.kind == TokenKind::kError) return false;
      if (token.kind == TokenKind::kBar && depth == 0) return context_.colon;
      depth += token.kind == TokenKind::kOpen ? 1 : token.kind == TokenKind::kClose ? -1 : 0;
    }
    return false;
  }
  if (!IsOneOf(ahead.Peek().kind, {TokenKind::kNumber, TokenKind::kWord, TokenKind::kSymbol,
                                   TokenKind::kConstant, TokenKind::kFunction, TokenKind::kOpen,
                                   TokenKind::kBar, TokenKind::kFraction, TokenKind::kRoot}))
    return false;
  size_t index = 0;
  while (index < unclear_bars_.size() && unclear_bars_[index] != begin) ++index;
  if (index == unclear_bars_.size()) unclear_bars_.push_back(begin);
  return index < 32 && (flips_ >> index & 1) != 0;
}

}  // namespace temper::math
