// SPDX-License-Identifier: Apache-2.0
// Derivatives, and integrals of polynomials, sine, cosine and exp, by rule. None: no rule, or too large.
#pragma once

#include <optional>

#include "rewards/math/expression.h"

namespace temper::math {

std::optional<Expression> Derivative(const Expression& derivative);  // body, variable, order
// body, variable, low, high. One without bounds is known up to a constant only: none.
std::optional<Expression> Integral(const Expression& integral);

}  // namespace temper::math
