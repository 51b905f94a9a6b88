// SPDX-License-Identifier: Apache-2.0
// Values at points, and proofs.
#include <algorithm>
#include <utility>

#include "rewards/math/algebra/proof.h"
#include "rewards/math/equal/parts.h"

namespace temper::math {
namespace {

constexpr int kPoints = 3;
constexpr slong kFirstPrecision = 128;
constexpr slong kMostAgreement = 8192;  // bits
constexpr slong kHopelessPrecision = 1024;

enum class Agreement { kDifferent, kWithin, kVague, kNone, kUndefined, kTooLarge };

struct PointResult {
  Agreement agreement = Agreement::kNone;
  slong height = 0;
  bool cut = false, arbitrary = false;
};

// Where and how the two are looked at.
struct Look {
  int point;
  slong precision;
  slong bits = 0;
  Branches branches = Branches::kPrincipal;
};

// kWithin: the two overlap and differ by less than 2^-bits.
PointResult ComparePoint(const Expression& gold, const Expression& answer, const Look& look,
                         WorkBudget* work) {
  PointEvaluator evaluator(look.point, look.precision, look.branches, work);
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
  acb_sub(difference.get(), a.ball.get(), b.ball.get(), look.precision);
  if (!difference.ContainsZero()) {
    result.agreement = Agreement::kDifferent;
  } else {
    result.agreement = difference.Magnitude() < -look.bits ? Agreement::kWithin : Agreement::kVague;
  }
  return result;
}

// As ComparePoint at the first precision that gives both a value: near a zero of a denominator, or a cut, a
// ball that is too wide is undefined.
PointResult FirstLook(const Expression& gold, const Expression& answer, int point, WorkBudget* work) {
  PointResult result;
  for (slong precision = kFirstPrecision; precision <= 16 * kFirstPrecision; precision *= 4) {
    result = ComparePoint(gold, answer, {point, precision}, work);
    if (result.agreement != Agreement::kUndefined) break;
  }
  return result;
}

// The agreement that counts as equality (rewards/math/equal/equal.h), at one point.
Agreement LongLook(const Expression& gold, const Expression& answer, int point, slong height,
                   Branches branches, WorkBudget* work) {
  const slong bits = 256 + 4 * height;
  if (bits > kMostAgreement) {  // can still be told apart, but not be called equal
    const PointResult look = ComparePoint(gold, answer, {point, kHopelessPrecision, bits, branches}, work);
    return look.agreement == Agreement::kDifferent ? look.agreement : Agreement::kTooLarge;
  }
  Agreement agreement = Agreement::kVague;
  for (slong precision = bits + 64; precision <= 2 * kMostAgreement; precision *= 2) {
    agreement = ComparePoint(gold, answer, {point, precision, bits, branches}, work).agreement;
    if (agreement != Agreement::kVague && agreement != Agreement::kUndefined) break;
  }
  return agreement;
}

Decision CannotCompare(const Expression& gold, const Expression& answer, Agreement agreement) {
  if (agreement == Agreement::kUndefined) return Unknown("undefined: a value that does not exist");
  if (agreement == Agreement::kTooLarge) {
    return TooLarge("a value that would have to be computed");
  }
  if (agreement == Agreement::kNone) {
    return CompareTrees(gold, answer, Unknown("cannot tell: something here has no value to compute"));
  }
  return Unknown("cannot tell: the two agree, but not to enough digits");
}

Decision CompareAtPoints(const Expression& gold, const Expression& answer, Comparison* comparison) {
  const bool constant = !HasSymbol(gold) && !HasSymbol(answer);
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

}  // namespace

Decision CompareValues(const Expression& gold, const Expression& answer, Comparison* comparison) {
  const Decision values = CompareAtPoints(gold, answer, comparison);
  const bool open = values.equality == Equality::kUnknown && values.reason.find("undefined") != 0 &&
                    IsEvidentlyDefined(gold);
  return open ? CompareTrees(gold, answer, values) : values;
}

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

}  // namespace temper::math
