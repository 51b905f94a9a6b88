// SPDX-License-Identifier: Apache-2.0
// Quotients of polynomials with rational coefficients (FLINT): equal exactly or not at all.
#pragma once

#include "rewards/math/expression.h"

namespace temper::math {

enum class SameFunction { kYes, kNo, kUnknown };

// Whether the two are one rational function of their symbols (x/x is 1). Unknown where one is no quotient of
// polynomials, has a denominator that is 0, or grows beyond a few thousand terms when multiplied out.
SameFunction CompareRationalFunctions(const Expression& a, const Expression& b);

}  // namespace temper::math
