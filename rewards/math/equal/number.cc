// SPDX-License-Identifier: Apache-2.0
// Numbers: as they are written, rounded, percents, exact, infinite.

#include "absl/strings/str_cat.h"
#include "rewards/math/algebra/exact.h"
#include "rewards/math/equal/parts.h"

namespace temper::math {
namespace {

constexpr slong kPrecision = 128;

// x, where the expression is -x.
const Expression& Unsigned(const Expression& x) {
  return x.kind == Kind::kMultiply && x.args.size() == 2 && IsMinusOne(x.args[0]) ? x.args[1] : x;
}

bool IsDecimal(const Expression& x) {
  const Expression& bare = Unsigned(x);
  if (bare.kind == Kind::kPercent && bare.args.size() == 1) return IsDecimal(bare.args[0]);
  return bare.kind == Kind::kNumber && bare.name.find('.') != std::string::npos;
}

bool IsIntegerLiteral(const Expression& x) {
  const Expression& bare = Unsigned(x);
  if (bare.kind != Kind::kNumber) return false;
  const auto value = ParseRational(bare.name);
  return value && value->IsInteger();
}

// A product of an integer and 1 / another integer that have a divisor in common.
bool HasUnreducedFraction(const Expression& x) {
  Rational over(1), under(1);
  bool fraction = false;
  for (const Expression& arg : x.args) {
    if (HasUnreducedFraction(arg)) return true;
    if (x.kind != Kind::kMultiply) continue;
    const bool inverse = arg.kind == Kind::kPower && arg.args.size() == 2 && IsMinusOne(arg.args[1]);
    const Expression& factor = inverse ? arg.args[0] : arg;
    if (!IsIntegerLiteral(factor)) continue;
    const Exact value = EvaluateExact(factor);
    if (value.existence != Existence::kValue) continue;
    fraction |= inverse;
    (inverse ? under : over) = value.value;
  }
  if (!fraction) return false;
  Rational divisor;
  fmpz_gcd(divisor.numerator(), over.numerator(), under.numerator());
  return !(divisor == Rational(1)) || under == Rational(1);
}

Decision CompareRounded(const Rational& gold, const Rational& answer, int decimals) {
  if (gold == answer) return Yes("the same number");
  const Rational rounded = gold.Rounded(decimals);
  // 10^-8 is not 10^-9, though both are rounded to 0.
  if (rounded.IsZero() || !(rounded == answer.Rounded(decimals))) return No("another number");
  return Yes(absl::StrCat("the same to ", decimals, " decimals"));
}

// An irrational constant and a decimal.
Decision CompareRounded(const Expression& constant, const Rational& decimal, Comparison* comparison) {
  const auto value = RealValue(constant, comparison);
  if (!value) return Unknown("undefined: no real number to round");
  const int decimals = comparison->options.float_rounding;
  Ball scaled;
  Rational power(1), half(1, 2);
  for (int i = 0; i < decimals; ++i) power = power * Rational(10);
  const arb_ptr real = acb_realref(scaled.get());
  arb_abs(real, acb_realref(value->get()));
  arb_mul_fmpz(real, real, power.numerator(), kPrecision);
  arb_t shift;
  arb_init(shift);
  arb_set_d(shift, 0.5);
  arb_add(real, real, shift, kPrecision);
  arb_clear(shift);
  arb_floor(real, real, kPrecision);
  Rational rounded;
  if (arb_get_unique_fmpz(rounded.numerator(), real) == 0)
    return Unknown("cannot tell: between two roundings");
  if (arb_is_negative(acb_realref(value->get())) != 0) rounded = Rational(-1) * rounded;
  rounded = rounded / power;
  if (rounded.IsZero() || !(rounded == decimal.Rounded(decimals))) return No("another number");
  return Yes(absl::StrCat("the same to ", decimals, " decimals"));
}

Decision CompareConstants(const Expression& gold, const Expression& answer, Comparison* comparison) {
  const Exact a = EvaluateExact(gold);
  const Exact b = EvaluateExact(answer);
  const auto is_value = [](const Exact& exact) { return exact.existence == Existence::kValue; };
  if (a.existence == Existence::kUndefined || b.existence == Existence::kUndefined) {
    return Unknown("undefined: a value that does not exist");
  }
  const int decimals = comparison->options.float_rounding;
  const bool round = IsDecimal(gold) || IsDecimal(answer);
  if (is_value(a) && is_value(b)) {
    if (round) return CompareRounded(a.value, b.value, decimals);
    return a.value == b.value ? Yes("the same number") : No("another number");
  }
  if (round && is_value(a)) return CompareRounded(answer, a.value, comparison);
  if (round && is_value(b)) return CompareRounded(gold, b.value, comparison);
  return CompareValues(gold, answer, comparison);
}

Decision CompareInfinite(int gold_sign, const Expression& answer, Comparison* comparison) {
  if (const int sign = InfiniteSign(answer); sign != 0)
    return sign == gold_sign ? Yes("the same infinity") : No("the other infinity");
  if (RealValue(answer, comparison)) return No("a finite number");
  return Unknown("cannot tell: an infinity and something that is no real number");
}

// 9% is 9 and 0.09, as math-verify has it; 0.5% is 0.005 only.
Decision ComparePercent(const Expression& gold, const Expression& answer, Comparison* comparison) {
  const bool gold_percent = gold.kind == Kind::kPercent, answer_percent = answer.kind == Kind::kPercent;
  if (gold_percent && answer_percent) return CompareScalars(gold.args[0], answer.args[0], comparison);
  const Expression& percent = gold_percent ? gold : answer;
  const Expression& other = gold_percent ? answer : gold;
  if (IsIntegerLiteral(percent.args[0]) && IsIntegerLiteral(other)) {
    const Decision plain = CompareConstants(percent.args[0], other, comparison);
    if (plain.equality == Equality::kYes) return plain;
  }
  return CompareConstants(gold, answer, comparison);
}

}  // namespace

Decision CompareScalars(const Expression& gold, const Expression& answer, Comparison* comparison) {
  const EqualOptions& options = comparison->options;
  if (options.integers_as_integers && IsIntegerLiteral(gold) && !IsIntegerLiteral(answer)) {
    return No("not written as an integer");
  }
  if (options.fractions_in_lowest_terms && HasUnreducedFraction(answer) && !HasUnreducedFraction(gold)) {
    return No("a fraction that is not in lowest terms");
  }
  if (const int sign = InfiniteSign(gold); sign != 0) return CompareInfinite(sign, answer, comparison);
  if (const int sign = InfiniteSign(answer); sign != 0) return CompareInfinite(sign, gold, comparison);
  if (Decision times = CompareTimes(gold, answer); times.equality != Equality::kUnknown) return times;
  if (const Decision names = CompareNames(gold, answer); names.equality != Equality::kUnknown) return names;
  const bool constant = !HasSymbol(gold) && !HasSymbol(answer);
  if (constant && (gold.kind == Kind::kPercent || answer.kind == Kind::kPercent)) {
    return ComparePercent(gold, answer, comparison);
  }
  if (constant) return CompareConstants(gold, answer, comparison);
  return CompareValues(gold, answer, comparison);
}

}  // namespace temper::math
