// SPDX-License-Identifier: Apache-2.0
// Matrices written out: arithmetic on trees.
#pragma once

#include <optional>
#include <string>

#include "rewards/math/expression.h"

namespace temper::math {

// A sum, product or power in which a matrix occurs, as one matrix. None: there is none, or the shapes do not
// fit, or it is too large.
std::optional<Expression> MatrixArithmetic(const Expression& expression);
// det, trace, transpose.
std::optional<Expression> MatrixFunction(const std::string& name, const Expression& matrix);

}  // namespace temper::math
