// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/algebra/proof.h"

#include <deque>
#include <string_view>
#include <utility>
#include <vector>

#include "rewards/math/algebra/algebra.h"
#include "rewards/math/algebra/exact.h"

namespace temper::math {
namespace {

constexpr size_t kMostCalciumSteps = 40;
constexpr std::pair<std::string_view, CalciumCode> kUnary[] = {
    {"exp", kCalciumExp},       {"log", kCalciumLog},       {"sin", kCalciumSin}, {"cos", kCalciumCos},
    {"tan", kCalciumTan},       {"cot", kCalciumCot},       {"abs", kCalciumAbs}, {"arcsin", kCalciumArcsin},
    {"arccos", kCalciumArccos}, {"arctan", kCalciumArctan},
};

class Program {
 public:
  // False: something in it has no step.
  bool Write(const Expression& expression) {
    if (steps_.size() > kMostCalciumSteps) return false;
    const Exact exact = EvaluateExact(expression);
    if (exact.existence == Existence::kValue) return Push(exact.value);
    switch (expression.kind) {
      case Kind::kConstant:
        if (expression.name == "pi") return Add(kCalciumPi);
        if (expression.name == "e") return Add(kCalciumE);
        return expression.name == "i" && Add(kCalciumI);
      case Kind::kAdd:
        return WriteArgs(expression) && Add(kCalciumAdd, std::ssize(expression.args));
      case Kind::kMultiply:
        return WriteArgs(expression) && Add(kCalciumMultiply, std::ssize(expression.args));
      case Kind::kPower:
        if (expression.args[0].kind == Kind::kConstant && expression.args[0].name == "e") {
          return Write(expression.args[1]) && Add(kCalciumExp);
        }
        return WriteArgs(expression) && Add(kCalciumPower);
      case Kind::kFunction:
        return WriteFunction(expression);
      default:
        return false;
    }
  }

  const std::vector<CalciumStep>& steps() const { return steps_; }

 private:
  bool WriteArgs(const Expression& expression) {
    for (const Expression& arg : expression.args) {
      if (!Write(arg)) return false;
    }
    return !expression.args.empty();
  }

  bool WriteFunction(const Expression& expression) {
    if (expression.name == "log" && expression.args.size() == 2) {
      return Write(expression.args[1]) && Add(kCalciumLog) && Write(expression.args[0]) && Add(kCalciumLog) &&
             Push(Rational(-1)) && Add(kCalciumPower) && Add(kCalciumMultiply, 2);
    }
    if (expression.args.size() != 1) return false;
    for (const auto& [name, code] : kUnary) {
      if (name == expression.name) return WriteArgs(expression) && Add(code);
    }
    return false;
  }

  bool Push(const Rational& number) {
    constexpr slong kMostFactored = 64;  // bits: roots factor what is under them
    if (number.Bits() > kMostFactored) return false;
    numbers_.push_back(number);
    steps_.push_back({kCalciumNumber, 0, numbers_.back().get()});
    return true;
  }

  bool Add(CalciumCode code, slong count = 1) {
    steps_.push_back({code, count, nullptr});
    return true;
  }

  std::deque<Rational> numbers_;  // a deque, since the steps point into it
  std::vector<CalciumStep> steps_;
};

}  // namespace

CalciumVerdict ProveEqual(const Expression& a, const Expression& b) {
  Program first, second;
  if (!first.Write(a) || !second.Write(b)) return kCalciumUnknown;
  if (first.steps().size() > kMostCalciumSteps || second.steps().size() > kMostCalciumSteps)
    return kCalciumUnknown;
  return TemperCalciumEqual(first.steps().data(), std::ssize(first.steps()), second.steps().data(),
                            std::ssize(second.steps()));
}

}  // namespace temper::math
