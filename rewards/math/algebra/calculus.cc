// SPDX-License-Identifier: Apache-2.0

#include <string>
#include <utility>
#include <vector>

#include "rewards/math/algebra/exact.h"
#include "rewards/math/algebra/expand.h"

namespace temper::math {
namespace {

constexpr size_t kMostDerivativeNodes = 1000;

Expression Call(const char* name, Expression x) { return {Kind::kFunction, name, {std::move(x)}}; }

// The derivative of the function at x; none: not in the list.
std::optional<Expression> FunctionDerivative(const std::string& name, const Expression& x) {
  if (name == "sin") return Call("cos", x);
  if (name == "cos") return NegativeOf(Call("sin", x));
  if (name == "tan") return PowerOf(Call("cos", x), NumberOf(-2));
  if (name == "exp") return Call("exp", x);
  if (name == "log") return PowerOf(x, NumberOf(-1));
  if (name == "sinh") return Call("cosh", x);
  if (name == "cosh") return Call("sinh", x);
  if (name == "arctan") return PowerOf(SumOf({NumberOf(1), PowerOf(x, NumberOf(2))}), NumberOf(-1));
  return std::nullopt;
}

std::optional<Expression> Differentiate(const Expression& f, const std::string& variable) {
  if (!Mentions(f, variable)) return NumberOf(0);
  switch (f.kind) {
    case Kind::kSymbol:
      if (f.name != variable) return std::nullopt;  // x_k by k
      return NumberOf(1);
    case Kind::kAdd:
    case Kind::kMultiply: {
      std::vector<Expression> terms;
      for (size_t i = 0; i < f.args.size(); ++i) {
        auto part = Differentiate(f.args[i], variable);
        if (!part) return std::nullopt;
        Expression term = f;
        term.args[i] = *std::move(part);
        terms.push_back(f.kind == Kind::kAdd ? std::move(term.args[i]) : std::move(term));
      }
      return SumOf(std::move(terms));
    }
    case Kind::kPower: {
      const Expression& base = f.args[0];
      const Expression& exponent = f.args[1];
      auto inner = Differentiate(base, variable);
      auto power = Differentiate(exponent, variable);
      if (!inner || !power) return std::nullopt;
      if (!Mentions(exponent, variable)) {
        return ProductOf({exponent, PowerOf(base, DifferenceOf(exponent, NumberOf(1))), *std::move(inner)});
      }
      if (Mentions(base, variable)) return std::nullopt;
      return ProductOf({f, Call("log", base), *std::move(power)});
    }
    case Kind::kFunction: {
      if (f.args.size() != 1) return std::nullopt;
      auto inner = Differentiate(f.args[0], variable);
      auto outer = FunctionDerivative(f.name, f.args[0]);
      if (!inner || !outer) return std::nullopt;
      return ProductOf({*std::move(outer), *std::move(inner)});
    }
    default:
      return std::nullopt;
  }
}

std::optional<Expression> Integrate(const Expression& f, const std::string& x, int depth);

// A product: its constant factors come out, sums and their powers are multiplied out.
std::optional<Expression> IntegrateProduct(const Expression& f, const std::string& x, int depth) {
  std::vector<Expression> constants, others;
  for (const Expression& factor : f.args) (Mentions(factor, x) ? others : constants).push_back(factor);
  if (others.size() == 1) {
    auto integral = Integrate(others[0], x, depth);
    if (!integral) return std::nullopt;
    constants.push_back(*std::move(integral));
    return ProductOf(std::move(constants));
  }
  for (size_t i = 0; i < others.size(); ++i) {
    if (others[i].kind != Kind::kAdd) continue;
    std::vector<Expression> terms;
    for (const Expression& term : others[i].args) {
      Expression product{Kind::kMultiply, "", constants};
      product.args.insert(product.args.end(), others.begin(), others.end());
      product.args[constants.size() + i] = term;
      terms.push_back(std::move(product));
    }
    return Integrate(SumOf(std::move(terms)), x, depth);
  }
  // x^a x^b
  std::vector<Expression> exponents;
  for (const Expression& factor : others) {
    const bool power = factor.kind == Kind::kPower;
    const Expression& base = power ? factor.args[0] : factor;
    if (base.kind == Kind::kMultiply) {  // a product in a product
      Expression flat{Kind::kMultiply, "", constants};
      for (const Expression& other : others) {
        if (other.kind == Kind::kMultiply) {
          flat.args.insert(flat.args.end(), other.args.begin(), other.args.end());
        } else {
          flat.args.push_back(other);
        }
      }
      return power ? std::nullopt : Integrate(flat, x, depth);
    }
    if (base.kind != Kind::kSymbol) return std::nullopt;
    exponents.push_back(power ? factor.args[1] : NumberOf(1));
  }
  constants.push_back(PowerOf({Kind::kSymbol, x, {}}, SumOf(std::move(exponents))));
  return Integrate(ProductOf(std::move(constants)), x, depth);
}

std::optional<Expression> IntegratePower(const Expression& f, const std::string& x, int depth) {
  constexpr slong kMostExponent = 8;
  const Exact exponent = EvaluateExact(f.args[1]);
  if (exponent.existence != Existence::kValue || exponent.value.Sign() < 0) return std::nullopt;  // poles
  if (f.args[0].kind == Kind::kSymbol && f.args[0].name == x) {
    const Expression next = SumOf({f.args[1], NumberOf(1)});
    return QuotientOf(PowerOf(f.args[0], next), next);
  }
  const auto small = exponent.value.Small(kMostExponent);
  if (!small || *small < 1) return std::nullopt;
  if (*small == 1) return Integrate(f.args[0], x, depth);
  return Integrate(ProductOf(std::vector<Expression>(*small, f.args[0])), x, depth);
}

std::optional<Expression> Integrate(const Expression& f, const std::string& x, int depth) {
  constexpr int kMostDepth = 40;
  if (depth > kMostDepth || CountNodes(f) > kMostDerivativeNodes) return std::nullopt;
  const Expression variable{Kind::kSymbol, x, {}};
  if (!Mentions(f, x)) return ProductOf({f, variable});
  switch (f.kind) {
    case Kind::kSymbol:
      if (f.name != x) return std::nullopt;
      return QuotientOf(PowerOf(variable, NumberOf(2)), NumberOf(2));
    case Kind::kAdd: {
      std::vector<Expression> terms;
      for (const Expression& term : f.args) {
        auto integral = Integrate(term, x, depth + 1);
        if (!integral) return std::nullopt;
        terms.push_back(*std::move(integral));
      }
      return SumOf(std::move(terms));
    }
    case Kind::kMultiply:
      return IntegrateProduct(f, x, depth + 1);
    case Kind::kPower:
      if (f.args[0].kind == Kind::kConstant && f.args[0].name == "e" && f.args[1] == variable) return f;
      return IntegratePower(f, x, depth + 1);
    case Kind::kFunction:
      if (f.args.size() != 1 || !(f.args[0] == variable)) return std::nullopt;
      if (f.name == "sin") return NegativeOf(Call("cos", variable));
      if (f.name == "cos") return Call("sin", variable);
      if (f.name == "exp") return f;
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<Expression> Derivative(const Expression& derivative) {
  constexpr slong kMostOrder = 4;
  if (derivative.args.size() != 3 || derivative.args[1].kind != Kind::kSymbol) return std::nullopt;
  const Exact order = EvaluateExact(derivative.args[2]);
  if (order.existence != Existence::kValue) return std::nullopt;
  const auto times = order.value.Small(kMostOrder);
  std::optional<Expression> result = derivative.args[0];
  if (!times || *times < 1) return std::nullopt;
  for (slong i = 0; i < *times && result; ++i) {
    if (CountNodes(*result) > kMostDerivativeNodes) return std::nullopt;
    result = Differentiate(*result, derivative.args[1].name);
  }
  return result;
}

std::optional<Expression> Integral(const Expression& integral) {
  if (integral.args.size() != 4 || integral.args[1].kind != Kind::kSymbol) return std::nullopt;
  for (const Expression* end : {&integral.args[2], &integral.args[3]}) {
    if (EvaluateExact(*end).existence == Existence::kUndefined) return std::nullopt;
    if (Mentions(*end, integral.args[1].name)) return std::nullopt;
  }
  const auto primitive = Integrate(integral.args[0], integral.args[1].name, 0);
  if (!primitive) return std::nullopt;
  return DifferenceOf(Substitute(*primitive, integral.args[1].name, integral.args[3]),
                      Substitute(*primitive, integral.args[1].name, integral.args[2]));
}

}  // namespace temper::math
