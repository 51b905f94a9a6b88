// SPDX-License-Identifier: Apache-2.0
// The exact rational value of an expression without symbols, where it has one.
#pragma once

#include "rewards/math/algebra/algebra.h"
#include "rewards/math/expression.h"

namespace temper::math {

enum class Existence {
  kValue,
  kNone,       // not of this kind: a symbol, an irrational root, a function that is not known here
  kUndefined,  // 1/0, 0^0, oo - oo
  kTooLarge,   // the value, or one on the way to it
};

struct Exact {
  Existence existence = Existence::kNone;
  Rational value;
};

// Sums, products, integer powers and roots of perfect powers, factorial, binomial, gcd, lcm, floor, ceil,
// abs, sign, max, min, mod. Microseconds for each node, whatever the numbers in it.
Exact EvaluateExact(const Expression& expression);

}  // namespace temper::math
