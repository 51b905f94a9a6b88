// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/algebra/ball.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "core/one_of.h"
#include "rewards/math/algebra/names.h"

namespace temper::math {
namespace {

constexpr slong kMostValueMagnitude = slong{1} << 20;  // of a value, as a power of two
constexpr slong kMostArgument = 40;                    // of exp, sin and the like, as a power of two
constexpr slong kMostGammaPrecision = 2048;
constexpr slong kMostGammaArgument = 13;
constexpr slong kFunctionSteps = 30;
constexpr slong kScreening = 64;  // bits at which most arguments are seen to have nothing in common

uint64_t Mix(uint64_t x) {  // splitmix64
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

uint64_t Hash(std::string_view name, uint64_t salt) {
  uint64_t hash = Mix(salt);
  for (const char c : name) hash = Mix(hash ^ static_cast<unsigned char>(c));
  return hash;
}

// In +-[0.5, 1.5], to 53 bits.
double Coordinate(uint64_t bits) {
  const double size = 0.5 + std::ldexp(static_cast<double>(bits >> 12), -52);
  return (bits & 1) != 0 ? -size : size;
}

Ball Random(std::string_view name, uint64_t salt) {
  const uint64_t hash = Hash(name, salt);
  Ball ball;
  acb_set_d_d(ball.get(), Coordinate(hash), Coordinate(Mix(hash)));
  return ball;
}

PointValue Finite(Ball ball) {
  if (!ball.IsFinite()) return {Existence::kUndefined, {}};
  return {Existence::kValue, std::move(ball)};
}

}  // namespace

Ball PointEvaluator::Symbol(std::string_view name) const { return Random(SymbolKey(name), point_); }

bool PointEvaluator::Spend(slong steps) {
  return work_->Spend(steps * (1 + precision_ / 512) * (1 + precision_ / 4096));
}

PointValue PointEvaluator::Evaluate(const Expression& expression) {
  if (!Spend(1)) return {Existence::kTooLarge, {}};
  PointValue value = Known(expression);
  if (value.existence != Existence::kValue) return value;
  if (!value.ball.IsFinite()) return {Existence::kUndefined, {}};
  const slong magnitude = value.ball.Magnitude();
  if (magnitude > kMostValueMagnitude) return {Existence::kTooLarge, {}};
  height_ += 1;
  if (!value.ball.ContainsZero()) height_ += std::abs(magnitude);
  return value;
}

PointValue PointEvaluator::Known(const Expression& expression) {
  switch (expression.kind) {
    case Kind::kNumber: {
      const auto exact = ParseRational(expression.name);
      if (!exact || exact->Bits() > kMostBits) return {Existence::kTooLarge, {}};
      height_ += exact->Bits();
      Ball ball;
      acb_set_fmpq(ball.get(), exact->get(), precision_);
      return Finite(std::move(ball));
    }
    case Kind::kSymbol:
      return Finite(Symbol(expression.name));
    case Kind::kConstant:
      return Constant(expression.name);
    case Kind::kAdd:
      return Sum(expression);
    case Kind::kMultiply:
      return Product(expression);
    case Kind::kPower:
      if (expression.args.size() != 2) return {};
      return Power(expression.args[0], expression.args[1]);
    case Kind::kPercent: {
      if (expression.args.size() != 1) return {};
      PointValue value = Evaluate(expression.args[0]);
      if (value.existence == Existence::kValue)
        acb_div_ui(value.ball.get(), value.ball.get(), 100, precision_);
      return value;
    }
    case Kind::kFunction:
      return Function(expression);
    default:
      return {};
  }
}

PointValue PointEvaluator::Constant(std::string_view name) {
  Ball ball;
  if (name == "pi") {
    acb_const_pi(ball.get(), precision_);
  } else if (name == "e") {
    arb_const_e(acb_realref(ball.get()), precision_);
  } else if (name == "i") {
    acb_onei(ball.get());
  } else {
    return {};
  }
  return Finite(std::move(ball));
}

PointValue PointEvaluator::Sum(const Expression& expression) {
  Ball sum;
  for (const Expression& arg : expression.args) {
    const PointValue value = Evaluate(arg);
    if (value.existence != Existence::kValue) return value;
    acb_add(sum.get(), sum.get(), value.ball.get(), precision_);
  }
  return Finite(std::move(sum));
}

PointValue PointEvaluator::Product(const Expression& expression) {
  Ball product;
  acb_one(product.get());
  for (const Expression& arg : expression.args) {
    const PointValue value = Evaluate(arg);
    if (value.existence != Existence::kValue) return value;
    acb_mul(product.get(), product.get(), value.ball.get(), precision_);
  }
  return Finite(std::move(product));
}

PointValue PointEvaluator::Power(const Expression& base, const Expression& exponent) {
  const PointValue power = Evaluate(exponent);
  if (power.existence != Existence::kValue) return power;
  if (base.kind == Kind::kConstant && base.name == "e") {
    return Function({Kind::kFunction, "exp", {exponent}});
  }
  const PointValue value = Evaluate(base);
  if (value.existence != Existence::kValue) return value;
  const Exact exact = EvaluateExact(exponent);
  Ball result;
  if (exact.existence == Existence::kValue && exact.value.IsInteger()) {
    if (exact.value.Sign() <= 0 && value.ball.ContainsZero()) return {Existence::kUndefined, {}};
    if (!exact.value.Small(slong{1} << 30)) return {Existence::kTooLarge, {}};
    acb_pow_fmpz(result.get(), value.ball.get(), exact.value.numerator(), precision_);
    return Finite(std::move(result));
  }
  if (acb_is_zero(value.ball.get())) {  // 0^x
    const bool positive = power.ball.IsReal() && arb_is_positive(acb_realref(power.ball.get())) != 0;
    return positive && !HasSymbol(exponent) ? Finite(Ball()) : PointValue{Existence::kUndefined, {}};
  }
  const bool half = exact.existence == Existence::kValue && exact.value == Rational(1, 2);
  if (half && !HasSymbol(base)) {  // cheaper than by a logarithm, and real where it is real
    acb_sqrt(result.get(), value.ball.get(), precision_);
    return Finite(std::move(result));
  }
  if (!Spend(4 * kFunctionSteps)) return {Existence::kTooLarge, {}};
  acb_mul(result.get(), power.ball.get(), Logarithm(value.ball, HasSymbol(base)).get(), precision_);
  if (!result.IsFinite()) return {Existence::kUndefined, {}};
  if (result.Magnitude() > kMostArgument) return {Existence::kTooLarge, {}};
  acb_exp(result.get(), result.get(), precision_);
  return Finite(std::move(result));
}

const PointEvaluator::Atom* PointEvaluator::Multiple(std::string_view name, const Ball& argument,
                                                     bool positive, Ball* factor) const {
  for (const Atom& atom : atoms_) {
    if (atom.name != name) continue;
    acb_div(factor->get(), argument.get(), atom.args[0].get(), kScreening);
    if (!factor->IsFinite() || arb_contains_zero(acb_imagref(factor->get())) == 0) continue;
    acb_div(factor->get(), argument.get(), atom.args[0].get(), precision_);
    if (!factor->IsFinite() || arb_contains_zero(acb_imagref(factor->get())) == 0) continue;
    if (factor->RadiusMagnitude() > -precision_ / 2) continue;
    arb_zero(acb_imagref(factor->get()));
    if (arb_is_positive(acb_realref(factor->get())) != 0) return &atom;
    if (!positive && arb_is_negative(acb_realref(factor->get())) != 0) return &atom;
  }
  return nullptr;
}

Ball PointEvaluator::Logarithm(const Ball& argument, bool symbolic) {
  cut_ |= symbolic;
  if (symbolic && branches_ == Branches::kAny) return AnyLogarithm(argument);
  Ball result;
  acb_log(result.get(), argument.get(), precision_);
  return result;
}

Ball PointEvaluator::AnyLogarithm(const Ball& argument) {
  Ball result;
  if (const Atom* atom = Multiple("log", argument, /*positive=*/true, &result)) {
    acb_log(result.get(), result.get(), precision_);
    acb_add(result.get(), result.get(), atom->value.get(), precision_);
    return result;
  }
  acb_log(result.get(), argument.get(), precision_);
  const auto turns = static_cast<slong>(Hash("log", point_ * 64 + atoms_.size()) % 7) - 3;
  Ball turn;
  acb_const_pi(turn.get(), precision_);
  acb_mul_si(turn.get(), turn.get(), 2 * turns, precision_);
  acb_mul_onei(turn.get(), turn.get());
  acb_add(result.get(), result.get(), turn.get(), precision_);
  atoms_.push_back({"log", {argument}, result});
  return result;
}

PointValue PointEvaluator::AbsoluteValue(const Ball& argument, bool symbolic) {
  cut_ |= symbolic;
  Ball result;
  if (!symbolic || branches_ == Branches::kPrincipal) {
    acb_abs(acb_realref(result.get()), argument.get(), precision_);
    return Finite(std::move(result));
  }
  if (const Atom* atom = Multiple("abs", argument, /*positive=*/false, &result)) {
    arb_abs(acb_realref(result.get()), acb_realref(result.get()));
    acb_mul(result.get(), result.get(), atom->value.get(), precision_);
    return Finite(std::move(result));
  }
  result = Random("abs", point_ * 64 + atoms_.size());
  atoms_.push_back({"abs", {argument}, result});
  return Finite(std::move(result));
}

Ball PointEvaluator::Arbitrary(std::string_view name, std::vector<Ball> args) {
  for (const Atom& atom : atoms_) {
    const bool same = atom.name == name && atom.args.size() == args.size() &&
                      std::equal(args.begin(), args.end(), atom.args.begin(), Overlap);
    if (same) return atom.value;
  }
  Ball value = Random(name, point_ * 64 + atoms_.size() + 1'000'000);
  atoms_.push_back({std::string(name), std::move(args), value});
  return value;
}

PointValue PointEvaluator::Function(const Expression& expression) {
  const std::string& name = expression.name;
  if (IsValueless(name)) return {};
  if (!Spend(kFunctionSteps)) return {Existence::kTooLarge, {}};
  std::vector<Ball> args;
  for (const Expression& arg : expression.args) {
    PointValue value = Evaluate(arg);
    if (value.existence != Existence::kValue) return value;
    if (value.ball.Magnitude() > kMostArgument && name != "log") return {Existence::kTooLarge, {}};
    args.push_back(std::move(value.ball));
  }
  if (args.empty()) return {};
  const bool symbolic = HasSymbol(expression);
  Ball result;
  if (args.size() == 1) {
    if (const AcbFunction smooth = SmoothFunction(name)) {
      height_ += LimitBits(name, args[0]);
      smooth(result.get(), args[0].get(), precision_);
      return Finite(std::move(result));
    }
    if (name == "log") return Finite(Logarithm(args[0], symbolic));
    if (name == "abs") return AbsoluteValue(args[0], symbolic);
    if (const AcbFunction cut = CutFunction(name)) {
      cut_ |= symbolic;
      if (symbolic && branches_ == Branches::kAny) return Finite(Arbitrary(name, std::move(args)));
      cut(result.get(), args[0].get(), precision_);
      return Finite(std::move(result));
    }
    if (name == "factorial" || name == "gamma") {
      if (precision_ > kMostGammaPrecision || args[0].Magnitude() > kMostGammaArgument) {
        return {Existence::kTooLarge, {}};
      }
      if (name == "factorial") acb_add_ui(args[0].get(), args[0].get(), 1, precision_);
      acb_gamma(result.get(), args[0].get(), precision_);
      return Finite(std::move(result));
    }
  }
  if (args.size() == 2 && name == "log") {  // of args[1] to the base args[0]
    const Ball base = Logarithm(args[0], HasSymbol(expression.args[0]));
    acb_div(result.get(), Logarithm(args[1], HasSymbol(expression.args[1])).get(), base.get(), precision_);
    return Finite(std::move(result));
  }
  if (name == "binomial" && args.size() == 2) return Binomial(args[0], args[1]);
  const bool unknown = IsUnknownFunction(expression);
  if (!symbolic && !unknown) return Real(name, args);
  if (!unknown && !IsStepwise(name)) return {};
  cut_ = arbitrary_ = true;
  return Finite(Arbitrary(name, std::move(args)));
}

// gamma(n + 1) / gamma(k + 1) gamma(n - k + 1)
PointValue PointEvaluator::Binomial(const Ball& n, const Ball& k) {
  if (precision_ > kMostGammaPrecision || std::max(n.Magnitude(), k.Magnitude()) > kMostGammaArgument) {
    return {Existence::kTooLarge, {}};
  }
  Ball result, below;
  const auto multiply = [&](Ball x) {
    acb_add_ui(x.get(), x.get(), 1, precision_);
    acb_rgamma(x.get(), x.get(), precision_);
    acb_mul(result.get(), result.get(), x.get(), precision_);
  };
  acb_add_ui(result.get(), n.get(), 1, precision_);
  acb_gamma(result.get(), result.get(), precision_);
  acb_sub(below.get(), n.get(), k.get(), precision_);
  multiply(k);
  multiply(std::move(below));
  return Finite(std::move(result));
}

PointValue PointEvaluator::Real(std::string_view name, const std::vector<Ball>& args) {
  if (args.size() == 1) {
    Ball result;
    if (name == "re") acb_set_arb(result.get(), acb_realref(args[0].get()));
    if (name == "im") acb_set_arb(result.get(), acb_imagref(args[0].get()));
    if (name == "conjugate") acb_conj(result.get(), args[0].get());
    if (IsOneOf(name, {"re", "im", "conjugate"})) return Finite(std::move(result));
    if (name == "arg") {
      if (args[0].ContainsZero()) return {Existence::kUndefined, {}};
      acb_arg(acb_realref(result.get()), args[0].get(), precision_);
      return Finite(std::move(result));
    }
  }
  for (const Ball& arg : args) {
    if (!arg.IsReal()) return {};
  }
  Ball result;
  const arb_ptr real = acb_realref(result.get());
  const arb_srcptr first = acb_realref(args[0].get());
  if (args.size() == 1 && (name == "floor" || name == "ceil")) {
    (name == "floor" ? arb_floor : arb_ceil)(real, first, precision_);
    if (arb_is_exact(real) == 0) return {Existence::kUndefined, {}};  // an integer is too near to tell
    return Finite(std::move(result));
  }
  if (args.size() == 1 && name == "sign") {
    if (arb_contains_zero(first) != 0) return {Existence::kUndefined, {}};
    arb_sgn(real, first);
    return Finite(std::move(result));
  }
  if (name != "max" && name != "min") return {};
  arb_set(real, first);
  for (const Ball& arg : args) {
    (name == "max" ? arb_max : arb_min)(real, real, acb_realref(arg.get()), precision_);
  }
  return Finite(std::move(result));
}

}  // namespace temper::math
