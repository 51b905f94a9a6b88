// SPDX-License-Identifier: Apache-2.0
// Proofs that two expressions are equal, or are not.
#pragma once

#include "rewards/math/algebra/calcium.h"
#include "rewards/math/expression.h"

namespace temper::math {

// Of constants (Calcium: algebraic numbers, pi, e, logarithms, i).
// kCalciumUnknown where it finds none, and for an expression with a function or a kind that it does not know.
// Takes milliseconds for expressions of about ten nodes and more; so, ask rewards/math/algebra/ball first.
CalciumVerdict ProveEqual(const Expression& a, const Expression& b);

// Of quotients of polynomials with rational coefficients (FLINT): equal exactly or not at all.
enum class SameFunction { kYes, kNo, kUnknown };

// Whether the two are one rational function of their symbols (x/x is 1). Unknown where one is no quotient of
// polynomials, has a denominator that is 0, or grows beyond a few thousand terms when multiplied out.
SameFunction CompareRationalFunctions(const Expression& a, const Expression& b);

}  // namespace temper::math
