// SPDX-License-Identifier: Apache-2.0
// A proof that two constants are equal, or are not (Calcium: algebraic numbers, pi, e, logarithms, i).
#pragma once

#include "rewards/math/algebra/calcium.h"
#include "rewards/math/expression.h"

namespace temper::math {

// kCalciumUnknown where it finds none, and for an expression with a function or a kind that it does not know.
// Takes milliseconds for expressions of about ten nodes and more; so, ask rewards/math/algebra/ball first.
CalciumVerdict ProveEqual(const Expression& a, const Expression& b);

}  // namespace temper::math
