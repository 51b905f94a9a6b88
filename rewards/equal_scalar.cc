// SPDX-License-Identifier: Apache-2.0
// Numbers and functions: exact where they are rational, else by balls at points, and a proof where there is
// one.
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "rewards/algebra_calcium.h"
#include "rewards/algebra_exact.h"
#include "rewards/algebra_polynomial.h"
#include "rewards/equal_parts.h"

namespace temper {
namespace {

using Kind = ExpressionKind;

constexpr int kPoints = 3;
constexpr slong kFirstPrecision = 128;
constexpr slong kMostAgreement = 4096;  // bits

// ---- Numbers as they are written

bool IsMinusOne(const Expression& x) { return x.kind == Kind::kNumber && x.name == "-1"; }

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
  arb_mul_fmpz(real, real, power.numerator(), kFirstPrecision);
  arb_t shift;
  arb_init(shift);
  arb_set_d(shift, 0.5);
  arb_add(real, real, shift, kFirstPrecision);
  arb_clear(shift);
  arb_floor(real, real, kFirstPrecision);
  Rational rounded;
  if (arb_get_unique_fmpz(rounded.numerator(), real) == 0)
    return Unknown("cannot tell: between two roundings");
  if (arb_is_negative(acb_realref(value->get())) != 0) rounded = Rational(-1) * rounded;
  rounded = rounded / power;
  if (rounded.IsZero() || !(rounded == decimal.Rounded(decimals))) return No("another number");
  return Yes(absl::StrCat("the same to ", decimals, " decimals"));
}

// ---- Trees

std::string Canonical(const Expression& x) {
  std::vector<std::string> parts;
  for (const Expression& arg : x.args) {
    if (arg.kind == x.kind && (x.kind == Kind::kAdd || x.kind == Kind::kMultiply)) {
      for (const Expression& inner : arg.args) parts.push_back(Canonical(inner));
    } else {
      parts.push_back(Canonical(arg));
    }
  }
  if (x.kind == Kind::kAdd || x.kind == Kind::kMultiply) std::sort(parts.begin(), parts.end());
  const std::string name = x.kind == Kind::kSymbol ? SymbolKey(x.name) : x.name;
  std::string text = absl::StrCat(static_cast<int>(x.kind), "'", name, "(");
  for (const std::string& part : parts) absl::StrAppend(&text, part, ",");
  return text + ")";
}

bool IsPositive(const Expression& x) {
  if (x.kind == Kind::kNumber)
    return x.name.find_first_of("123456789") != std::string::npos && x.name[0] != '-';
  if (x.kind != Kind::kAdd && x.kind != Kind::kMultiply && x.kind != Kind::kPower) return false;
  return std::all_of(x.args.begin(), x.args.end(), IsPositive);
}

// Nothing in it can fail to have a value, however large.
bool IsEvidentlyDefined(const Expression& x) {
  if (x.kind == Kind::kNumber || x.kind == Kind::kSymbol) return true;
  if (x.kind == Kind::kPower) {
    return x.args.size() == 2 && IsPositive(x.args[1]) && IsEvidentlyDefined(x.args[0]);
  }
  if (x.kind != Kind::kAdd && x.kind != Kind::kMultiply) return false;
  return std::all_of(x.args.begin(), x.args.end(), IsEvidentlyDefined);
}

// oo - oo, 0 oo: an infinity among terms, factors or in a power.
bool HasInfiniteArithmetic(const Expression& x) {
  int sign = 0;
  if (IsInfinite(x, &sign)) return false;
  const bool arithmetic = x.kind == Kind::kAdd || x.kind == Kind::kMultiply || x.kind == Kind::kPower;
  return std::any_of(x.args.begin(), x.args.end(), [&](const Expression& arg) {
    return (arithmetic && IsInfinite(arg, &sign)) || HasInfiniteArithmetic(arg);
  });
}

// For what has no value that we could compute: the same tree, or nothing.
Decision CompareTrees(const Expression& gold, const Expression& answer, Decision otherwise) {
  if (HasInfiniteArithmetic(gold)) return Unknown("undefined: arithmetic with an infinity");
  if (Canonical(gold) == Canonical(answer)) return Yes("written the same");
  return otherwise;
}

// ---- Values at points

enum class Agreement { kDifferent, kWithin, kVague, kNone, kUndefined, kTooLarge };

struct PointResult {
  Agreement agreement = Agreement::kNone;
  slong height = 0;
  bool cut = false, arbitrary = false;
};

// kWithin: the two overlap and differ by less than 2^-bits.
PointResult ComparePoint(const Expression& gold, const Expression& answer, int point, slong precision,
                         slong bits, Branches branches, WorkBudget* work) {
  PointEvaluator evaluator(point, precision, branches, work);
  const PointValue a = evaluator.Evaluate(gold);
  PointResult result;
  const auto refuse = [&](Existence existence) {
    if (existence == Existence::kUndefined) result.agreement = Agreement::kUndefined;
    if (existence == Existence::kTooLarge) result.agreement = Agreement::kTooLarge;
    return result;
  };
  if (a.existence != Existence::kValue) return refuse(a.existence);
  const PointValue b = evaluator.Evaluate(answer);
  if (b.existence != Existence::kValue) return refuse(b.existence);
  result.height = evaluator.height();
  result.cut = evaluator.cut();
  result.arbitrary = evaluator.arbitrary();
  Ball difference;
  acb_sub(difference.get(), a.ball.get(), b.ball.get(), precision);
  if (!difference.ContainsZero()) {
    result.agreement = Agreement::kDifferent;
  } else {
    result.agreement = difference.Magnitude() < -bits ? Agreement::kWithin : Agreement::kVague;
  }
  return result;
}

// As ComparePoint at the first precision that gives both a value: near a zero of a denominator, or a cut, a
// ball that is too wide is undefined.
PointResult FirstLook(const Expression& gold, const Expression& answer, int point, WorkBudget* work) {
  PointResult result;
  for (slong precision = kFirstPrecision; precision <= 16 * kFirstPrecision; precision *= 4) {
    result = ComparePoint(gold, answer, point, precision, 0, Branches::kPrincipal, work);
    if (result.agreement != Agreement::kUndefined) break;
  }
  return result;
}

// The agreement that counts as equality (rewards/equal.h), at one point.
Agreement LongLook(const Expression& gold, const Expression& answer, int point, slong height,
                   Branches branches, WorkBudget* work) {
  const slong bits = 256 + 4 * height;
  if (bits > kMostAgreement) {  // can still be told apart, but not be called equal
    const PointResult look = ComparePoint(gold, answer, point, kMostAgreement, bits, branches, work);
    return look.agreement == Agreement::kDifferent ? look.agreement : Agreement::kTooLarge;
  }
  Agreement agreement = Agreement::kVague;
  for (slong precision = bits + 64; precision <= 2 * kMostAgreement; precision *= 2) {
    agreement = ComparePoint(gold, answer, point, precision, bits, branches, work).agreement;
    if (agreement != Agreement::kVague && agreement != Agreement::kUndefined) break;
  }
  return agreement;
}

Decision CannotCompare(const Expression& gold, const Expression& answer, Agreement agreement) {
  if (agreement == Agreement::kUndefined) return Unknown("undefined: a value that does not exist");
  if (agreement == Agreement::kTooLarge) {
    const Decision unknown = TooLarge("a value that would have to be computed");
    return IsEvidentlyDefined(gold) ? CompareTrees(gold, answer, unknown) : unknown;
  }
  if (agreement == Agreement::kNone) {
    return CompareTrees(gold, answer, Unknown("cannot tell: something here has no value to compute"));
  }
  return Unknown("cannot tell: the two agree, but not to enough digits");
}

Decision CompareAtPoints(const Expression& gold, const Expression& answer, bool constant,
                         Comparison* comparison) {
  const int points = constant ? 1 : kPoints;
  slong height = 0;
  bool cut = false, arbitrary = false;
  for (int point = 0; point < points; ++point) {
    const PointResult look = FirstLook(gold, answer, point, &comparison->work);
    if (look.agreement == Agreement::kDifferent) {
      if (look.arbitrary) return Unknown("cannot tell: a function without known values");
      return No(constant ? "another number" : "another function");
    }
    if (look.agreement != Agreement::kWithin && look.agreement != Agreement::kVague) {
      return CannotCompare(gold, answer, look.agreement);
    }
    height = std::max(height, look.height);
    cut |= look.cut;
    arbitrary |= look.arbitrary;
  }
  if (constant && comparison->proofs > 0) {
    --comparison->proofs;
    const CalciumVerdict verdict = ProveEqual(gold, answer);
    if (verdict == kCalciumEqual) return Yes("the same number, by algebra");
    if (verdict == kCalciumDifferent) return No("another number, by algebra");
  }
  if (!constant) {
    const SameFunction same = CompareRationalFunctions(gold, answer);
    if (same == SameFunction::kYes) return Yes("the same rational function");
    if (same == SameFunction::kNo) return No("another rational function");
  }
  // One point sees the smallest difference; each branch of a function with a cut has its own.
  for (const Branches branches : {Branches::kPrincipal, Branches::kAny}) {
    if (branches == Branches::kAny && !cut) break;
    for (int point = 0; point < (branches == Branches::kAny ? points : 1); ++point) {
      const Agreement agreement = LongLook(gold, answer, point, height, branches, &comparison->work);
      if (agreement == Agreement::kDifferent && branches == Branches::kAny) {
        return Unknown("cannot tell: the same on one branch of a root or logarithm, not on all");
      }
      if (agreement == Agreement::kDifferent) return No(constant ? "another number" : "another function");
      if (agreement != Agreement::kWithin) return CannotCompare(gold, answer, agreement);
    }
  }
  if (arbitrary) return Yes("the same function of the same arguments");
  return Yes(constant ? "the same number, to all digits that count"
                      : "the same function at every point tried");
}

// ---- Constants

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
  return CompareAtPoints(gold, answer, /*constant=*/true, comparison);
}

Decision CompareInfinite(int gold_sign, const Expression& answer, Comparison* comparison) {
  int sign = 0;
  if (IsInfinite(answer, &sign))
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

std::optional<Ball> RealValue(const Expression& constant, Comparison* comparison) {
  if (HasSymbol(constant)) return std::nullopt;
  PointEvaluator evaluator(0, kFirstPrecision, Branches::kPrincipal, &comparison->work);
  PointValue value = evaluator.Evaluate(constant);
  if (value.existence != Existence::kValue || !value.ball.IsReal()) return std::nullopt;
  return std::move(value.ball);
}

std::optional<int> ConstantRatio(const Expression& gold, const Expression& answer, Comparison* comparison) {
  slong height = 0;
  bool cut = false;
  std::optional<int> sign;
  // First whether at two points the quotient is one number, then which sign it has.
  const Expression quotient = QuotientOf(gold, answer);
  Ball first;
  for (int pass = 0; pass < 2; ++pass) {
    const slong bits = 256 + 4 * height;
    if (bits > kMostAgreement) return std::nullopt;
    for (int point = 0; point < kPoints; ++point) {
      const Branches branches = pass == 1 && cut ? Branches::kAny : Branches::kPrincipal;
      PointEvaluator evaluator(point, pass == 0 ? kFirstPrecision : 2 * bits, branches, &comparison->work);
      PointValue value = evaluator.Evaluate(quotient);
      if (value.existence != Existence::kValue || evaluator.arbitrary()) return std::nullopt;
      height = std::max(height, evaluator.height());
      cut |= evaluator.cut();
      if (pass == 1 && value.ball.RadiusMagnitude() > -bits) return std::nullopt;
      if (point == 0) first = value.ball;
      if (!Overlap(first, value.ball) || value.ball.ContainsZero()) return std::nullopt;
    }
  }
  const arb_srcptr real = acb_realref(first.get());
  if (arb_contains_zero(acb_imagref(first.get())) == 0) return 0;
  return arb_is_positive(real) != 0 ? 1 : arb_is_negative(real) != 0 ? -1 : 0;
}

Decision CompareScalars(const Expression& gold, const Expression& answer, Comparison* comparison) {
  const EqualOptions& options = comparison->options;
  if (options.integers_as_integers && IsIntegerLiteral(gold) && !IsIntegerLiteral(answer)) {
    return No("not written as an integer");
  }
  if (options.fractions_in_lowest_terms && HasUnreducedFraction(answer) && !HasUnreducedFraction(gold)) {
    return No("a fraction that is not in lowest terms");
  }
  int sign = 0;
  if (IsInfinite(gold, &sign)) return CompareInfinite(sign, answer, comparison);
  if (IsInfinite(answer, &sign)) return CompareInfinite(sign, gold, comparison);
  if (const Decision names = CompareNames(gold, answer); names.equality != Equality::kUnknown) return names;
  const bool constant = !HasSymbol(gold) && !HasSymbol(answer);
  if (constant && (gold.kind == Kind::kPercent || answer.kind == Kind::kPercent)) {
    return ComparePercent(gold, answer, comparison);
  }
  if (constant) return CompareConstants(gold, answer, comparison);
  return CompareAtPoints(gold, answer, /*constant=*/false, comparison);
}

}  // namespace temper
