// SPDX-License-Identifier: Apache-2.0
// Sums and products.
#include <utility>

#include "rewards/latex_parser.h"

namespace temper {
namespace {

using Kind = LatexTokenKind;
using Tree = ExpressionKind;

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
    for (int tokens = 0; depth >= 0 && tokens < 256; ++tokens, ahead.Skip()) {
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

}  // namespace temper
