// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/algebra/expand.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/one_of.h"
#include "rewards/math/algebra/exact.h"

namespace temper::math {
namespace {

constexpr size_t kMostExpandedNodes = 4000;
constexpr slong kMostExpandedTerms = 1000;

// sum and product: body, index, low, high. None: it stays; `problem` where it is too large.
std::optional<Expression> ExpandRange(const Expression& range, std::string* problem) {
  if (range.args.size() != 4 || range.args[1].kind != Kind::kSymbol) return std::nullopt;
  const Exact low = EvaluateExact(range.args[2]);
  const Exact high = EvaluateExact(range.args[3]);
  if (low.existence == Existence::kTooLarge || high.existence == Existence::kTooLarge) *problem = "a range";
  if (low.existence != Existence::kValue || high.existence != Existence::kValue) return std::nullopt;
  if (!low.value.IsInteger() || !high.value.IsInteger() || high.value < low.value) return std::nullopt;
  const std::string& index = range.args[1].name;
  const bool product = range.name == "product";
  const auto first = low.value.Small(1'000'000'000);
  const auto count = (high.value - low.value).Small(kMostExpandedTerms);
  if (!first || !count || (*count + 1) * CountNodes(range.args[0]) > kMostExpandedNodes) {
    *problem = product ? "a product" : "a sum";
    return std::nullopt;
  }
  // F_k is not F with k put in.
  const Expression probe = Substitute(range.args[0], index, NumberOf(0));
  if (Mentions(probe, index)) return std::nullopt;
  std::vector<Expression> terms;
  for (slong k = *first; k <= *first + *count; ++k)
    terms.push_back(Substitute(range.args[0], index, NumberOf(k)));
  return product ? ProductOf(std::move(terms)) : SumOf(std::move(terms));
}

std::optional<Expression> ExpandFunction(const Expression& function, std::string* problem) {
  const std::string& name = function.name;
  if (name == "sum" || name == "product") return ExpandRange(function, problem);
  if (name == "derivative") return Derivative(function);
  if (name == "integral") return Integral(function);
  if (function.args.size() == 1) return MatrixFunction(name, function.args[0]);
  return std::nullopt;
}

Expression ExpandTree(const Expression& expression, std::string* problem) {
  Expression result{expression.kind, expression.name, {}};
  size_t nodes = 0;
  for (const Expression& arg : expression.args) {
    result.args.push_back(ExpandTree(arg, problem));
    nodes += CountNodes(result.args.back());
  }
  if (nodes > kMostExpandedNodes) *problem = "an expression";
  if (!problem->empty()) return result;
  std::optional<Expression> done;
  if (result.kind == Kind::kFunction) done = ExpandFunction(result, problem);
  if (IsOneOf(result.kind, {Kind::kAdd, Kind::kMultiply, Kind::kPower})) {
    done = MatrixArithmetic(result);
  }
  return done ? *std::move(done) : result;
}

}  // namespace

Expanded Expand(const Expression& expression) {
  Expanded result;
  result.expression = ExpandTree(expression, &result.problem);
  return result;
}

Expression NumberOf(long value) {
  if (value == -1) return {Kind::kNumber, "-1", {}};
  Expression number{Kind::kNumber, std::to_string(value < 0 ? -value : value), {}};
  return value < 0 ? NegativeOf(std::move(number)) : number;
}

Expression NegativeOf(Expression x) { return ProductOf({NumberOf(-1), std::move(x)}); }
Expression DifferenceOf(Expression a, Expression b) {
  return SumOf({std::move(a), NegativeOf(std::move(b))});
}
Expression QuotientOf(Expression a, Expression b) {
  return ProductOf({std::move(a), PowerOf(std::move(b), NumberOf(-1))});
}
Expression PowerOf(Expression base, Expression exponent) {
  return {Kind::kPower, "", {std::move(base), std::move(exponent)}};
}
Expression SumOf(std::vector<Expression> terms) { return {Kind::kAdd, "", std::move(terms)}; }
Expression ProductOf(std::vector<Expression> factors) { return {Kind::kMultiply, "", std::move(factors)}; }

bool Mentions(const Expression& expression, const std::string& symbol) {
  if (expression.kind == Kind::kSymbol) {
    const size_t subscript = expression.name.find('_');
    if (expression.name == symbol) return true;
    if (subscript != std::string::npos && expression.name.find(symbol, subscript) != std::string::npos)
      return true;
  }
  return std::ranges::any_of(expression.args, [&](const Expression& arg) { return Mentions(arg, symbol); });
}

Expression Substitute(const Expression& expression, const std::string& symbol, const Expression& value) {
  if (expression.kind == Kind::kSymbol && expression.name == symbol) return value;
  Expression result{expression.kind, expression.name, {}};
  result.args.reserve(expression.args.size());
  for (const Expression& arg : expression.args) result.args.push_back(Substitute(arg, symbol, value));
  return result;
}

}  // namespace temper::math
