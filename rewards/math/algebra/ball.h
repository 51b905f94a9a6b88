// SPDX-License-Identifier: Apache-2.0
// Values of expressions as complex balls (Arb): rigorous enclosures, so two that do not overlap are
// different. Symbols have fixed pseudo-random complex values, other ones at each point.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rewards/math/algebra/algebra.h"
#include "rewards/math/algebra/exact.h"
#include "rewards/math/expression.h"

namespace temper::math {

// What one decision may cost, in steps of about 0.1 us: the bound on time, without a clock.
class WorkBudget {
 public:
  explicit WorkBudget(slong steps) : left_(steps) {}
  bool Spend(slong steps) { return (left_ -= steps) >= 0; }  // false: it is used up

 private:
  slong left_;
};

// Square roots, logarithms and their like are cut: they follow one of their branches in one region of the
// plane, another elsewhere, and few points see few regions. kPrincipal takes them as written. kAny takes
// another branch at each point, the same wherever the same argument (or a positive multiple) appears: what is
// equal for all of them is equal everywhere. Where a function has no such branches (|x|, floor, arcsin, f),
// kAny takes an arbitrary value.
enum class Branches { kPrincipal, kAny };

struct PointValue {
  Existence existence = Existence::kNone;  // kNone: something here has no value: a text, a limit, infinity
  Ball ball;                               // finite, if kValue
};

// One point, at one precision. The two expressions to compare must be evaluated by the same object.
class PointEvaluator {
 public:
  PointEvaluator(int point, slong precision, Branches branches, WorkBudget* work)
      : point_(point), precision_(precision), branches_(branches), work_(work) {}

  PointValue Evaluate(const Expression& expression);

  // The bits that the numbers and values on the way amount to: two expressions that differ, differ by
  // about 2^-height or more.
  slong height() const { return height_; }
  bool cut() const { return cut_; }              // some function with a cut had a symbol in its argument
  bool arbitrary() const { return arbitrary_; }  // some value was made up

 private:
  struct Atom {
    std::string name;
    std::vector<Ball> args;
    Ball value;
  };

  bool Spend(slong steps);  // at this precision
  PointValue Known(const Expression& expression);
  PointValue Sum(const Expression& expression);
  PointValue Product(const Expression& expression);
  PointValue Power(const Expression& base, const Expression& exponent);
  PointValue Function(const Expression& expression);
  PointValue Constant(std::string_view name);
  Ball Symbol(std::string_view name) const;
  Ball Logarithm(const Ball& argument, bool symbolic);
  Ball AnyLogarithm(const Ball& argument);
  PointValue AbsoluteValue(const Ball& argument, bool symbolic);
  Ball Arbitrary(std::string_view name, std::vector<Ball> args);
  PointValue Binomial(const Ball& n, const Ball& k);
  PointValue Real(std::string_view name, const std::vector<Ball>& args);
  // A real multiple of `argument` among the atoms of that name; null if there is none.
  const Atom* Multiple(std::string_view name, const Ball& argument, bool positive, Ball* factor) const;

  int point_;
  slong precision_;
  Branches branches_;
  WorkBudget* work_;
  slong height_ = 0;
  bool cut_ = false;
  bool arbitrary_ = false;
  std::vector<Atom> atoms_;
};

}  // namespace temper::math
