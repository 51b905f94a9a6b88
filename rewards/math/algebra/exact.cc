// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/algebra/exact.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "core/one_of.h"

namespace temper::math {
namespace {

constexpr slong kMostFactorial = 1500;  // 13,700 bits

Exact Value(Rational value) {
  if (value.Bits() > kMostBits) return {Existence::kTooLarge, {}};
  return {Existence::kValue, std::move(value)};
}

// base^(n), n an integer.
Exact IntegerPower(const Rational& base, const Rational& exponent) {
  if (base.IsZero()) {
    if (exponent.Sign() <= 0) return {Existence::kUndefined, {}};
    return Value(0);
  }
  Rational one(1), minus_one(-1);
  if (base == one) return Value(1);
  if (base == minus_one) return Value(fmpz_is_even(exponent.numerator()) ? 1 : -1);
  const auto n = exponent.Small(kMostBits);
  if (!n || base.Bits() * std::abs(*n) > kMostBits + std::abs(*n)) return {Existence::kTooLarge, {}};
  Rational result;
  fmpq_pow_si(result.get(), base.get(), *n);
  return Value(std::move(result));
}

// The n-th root of x >= 0 where it is rational.
Exact Root(const Rational& x, slong n) {
  Rational root;
  if (fmpz_root(root.numerator(), x.numerator(), n) == 0 ||
      fmpz_root(root.denominator(), x.denominator(), n) == 0) {
    return {};
  }
  if (!(IntegerPower(root, n).value == x)) return {};
  return Value(std::move(root));
}

Exact Power(const Rational& base, const Rational& exponent) {
  if (exponent.IsInteger()) return IntegerPower(base, exponent);
  if (base.IsZero()) return {exponent.Sign() > 0 ? Existence::kValue : Existence::kUndefined, {}};
  Rational degree;
  fmpz_set(degree.numerator(), exponent.denominator());
  const auto n = degree.Small(kMostBits);
  if (base.Sign() < 0 || !n) return {};  // a complex number
  const Exact root = Root(base, *n);
  if (root.existence != Existence::kValue) return root;
  Rational numerator;
  fmpz_set(numerator.numerator(), exponent.numerator());
  return IntegerPower(root.value, numerator);
}

Exact Factorial(const Rational& n) {
  if (!n.IsInteger()) return {};
  if (n.Sign() < 0) return {Existence::kUndefined, {}};
  const auto small = n.Small(kMostFactorial);
  if (!small) return {Existence::kTooLarge, {}};
  Rational result;
  fmpz_fac_ui(result.numerator(), *small);
  return Value(std::move(result));
}

Exact DoubleFactorial(const Rational& n) {
  if (!n.IsInteger() || n.Sign() < 0) return {};
  const auto small = n.Small(2 * kMostFactorial);
  if (!small) return {Existence::kTooLarge, {}};
  Rational result;
  fmpz_one(result.numerator());
  for (slong i = *small; i > 1; i -= 2) fmpz_mul_ui(result.numerator(), result.numerator(), i);
  return Value(std::move(result));
}

Exact Binomial(const Rational& n, const Rational& k) {
  if (!n.IsInteger() || !k.IsInteger() || n.Sign() < 0) return {};
  if (k.Sign() < 0 || n < k) return Value(0);
  Rational result(1);
  if (const auto small = n.Small(kMostBits)) {
    fmpz_bin_uiui(result.numerator(), *small, fmpz_get_ui(k.numerator()));
    return Value(std::move(result));
  }
  const Rational other = n - k;
  const auto small = (k < other ? k : other).Small(32);
  if (!small) return {Existence::kTooLarge, {}};
  for (slong i = 1; i <= *small; ++i) result = result * (n - Rational(*small - i)) / Rational(i);
  return Value(std::move(result));
}

Rational Floor(const Rational& x) {
  Rational result;
  fmpz_fdiv_q(result.numerator(), x.numerator(), x.denominator());
  return result;
}

Exact Unary(std::string_view name, const Rational& x) {
  if (name == "abs") return Value(x.Sign() < 0 ? Rational(-1) * x : x);
  if (name == "floor") return Value(Floor(x));
  if (name == "ceil") return Value(Rational(-1) * Floor(Rational(-1) * x));
  if (name == "factorial") return Factorial(x);
  if (name == "double_factorial") return DoubleFactorial(x);
  if (name == "sign") return Value(x.Sign());
  return {};
}

// A function of any number of arguments, folded from the left.
Exact Fold(std::string_view name, const Rational& a, const Rational& b) {
  if (name == "max") return Value(a < b ? b : a);
  if (name == "min") return Value(a < b ? a : b);
  if (!a.IsInteger() || !b.IsInteger()) return {};
  Rational result;
  if (name == "gcd") fmpz_gcd(result.numerator(), a.numerator(), b.numerator());
  if (name == "lcm") fmpz_lcm(result.numerator(), a.numerator(), b.numerator());
  return Value(std::move(result));
}

Exact Function(std::string_view name, const std::vector<Rational>& args) {
  if (args.size() == 1) {
    if (name == "max" || name == "min") return Value(args[0]);
    return Unary(name, args[0]);
  }
  if (args.size() == 2 && name == "binomial") return Binomial(args[0], args[1]);
  if (args.size() == 2 && name == "mod") {
    if (args[1].IsZero()) return {Existence::kUndefined, {}};
    return Value(args[0] - args[1] * Floor(args[0] / args[1]));
  }
  if (args.empty() || !IsOneOf(name, {"max", "min", "gcd", "lcm"})) return {};
  Exact result = Value(args[0]);
  for (size_t i = 1; i < args.size() && result.existence == Existence::kValue; ++i) {
    result = Fold(name, result.value, args[i]);
  }
  return result;
}

Exact Combine(const Expression& expression, const std::vector<Rational>& args) {
  Exact result = Value(expression.kind == Kind::kMultiply ? 1 : 0);
  switch (expression.kind) {
    case Kind::kAdd:
    case Kind::kMultiply:
      for (const Rational& arg : args) {
        result = Value(expression.kind == Kind::kAdd ? result.value + arg : result.value * arg);
        if (result.existence != Existence::kValue) return result;
      }
      return result;
    case Kind::kPower:
      return args.size() == 2 ? Power(args[0], args[1]) : Exact{};
    case Kind::kPercent:
      return args.size() == 1 ? Value(args[0] / Rational(100)) : Exact{};
    case Kind::kFunction:
      return Function(expression.name, args);
    default:
      return {};
  }
}

}  // namespace

Exact EvaluateExact(const Expression& expression) {
  switch (expression.kind) {
    case Kind::kNumber: {
      auto value = ParseRational(expression.name);
      return value ? Value(*std::move(value)) : Exact{Existence::kTooLarge, {}};
    }
    case Kind::kAdd:
    case Kind::kMultiply:
    case Kind::kPower:
    case Kind::kPercent:
    case Kind::kFunction:
      break;
    default:
      return {};
  }
  std::vector<Rational> args;
  Existence worst = Existence::kValue;  // what is undefined or too large in a part is so in the whole
  for (const Expression& arg : expression.args) {
    Exact value = EvaluateExact(arg);
    worst = std::max(worst, value.existence);
    args.push_back(std::move(value.value));
  }
  if (worst != Existence::kValue) return {worst, {}};
  return Combine(expression, args);
}

}  // namespace temper::math
