// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "rewards/latex_parser.h"

namespace temper {

using Tree = ExpressionKind;

Expression NumberNode(std::string_view digits) { return {Tree::kNumber, std::string(digits), {}}; }

Expression Product(std::vector<Expression> factors) {
  if (factors.size() == 1) return std::move(factors[0]);
  Expression product{Tree::kMultiply, "", {}};
  for (Expression& factor : factors) {
    if (factor.kind == Tree::kMultiply) {
      std::move(factor.args.begin(), factor.args.end(), std::back_inserter(product.args));
    } else {
      product.args.push_back(Scalar(std::move(factor)));
    }
  }
  return product;
}

Expression Negative(Expression value) {
  if (value == NumberNode("1")) return NumberNode("-1");
  std::vector<Expression> factors;
  factors.push_back(NumberNode("-1"));
  factors.push_back(std::move(value));
  return Product(std::move(factors));
}

Expression Inverse(Expression value) {
  return Node(Tree::kPower, "", Scalar(std::move(value)), NumberNode("-1"));
}

Expression Quotient(Expression over, Expression under) {
  std::vector<Expression> factors;
  factors.push_back(std::move(over));
  factors.push_back(Inverse(std::move(under)));
  return Product(std::move(factors));
}

Expression Scalar(Expression value) {
  if (value.kind == Tree::kSet && value.args.size() == 1) return Expression(std::move(value.args[0]));
  return value;
}

bool IsInteger(const Expression& value) {
  return value.kind == Tree::kNumber && value.name.find('.') == value.name.npos;
}

bool IsRelation(const Expression& value) {
  return value.kind == Tree::kRelation || value.kind == Tree::kLogic;
}

bool IsSetLike(const Expression& value) {
  switch (value.kind) {
    case Tree::kSet:
    case Tree::kInterval:
    case Tree::kUnion:
    case Tree::kIntersection:
    case Tree::kDifference:
      return true;
    case Tree::kConstant:  // a number set: N, R, ..
      return !value.name.empty() && std::string_view("NZQRC").find(value.name[0]) != std::string_view::npos;
    case Tree::kFunction:
      return value.name == "set_builder";
    default:
      return false;
  }
}

bool IsNumeric(const Expression& value) {
  switch (value.kind) {
    case Tree::kSymbol:
    case Tree::kText:
      return false;
    default:
      return std::all_of(value.args.begin(), value.args.end(), IsNumeric);
  }
}

}  // namespace temper
