// SPDX-License-Identifier: Apache-2.0
// What an answer may leave to be done: sums and products over a finite range, derivatives, integrals of
// polynomials, arithmetic of matrices, their determinant, trace and transpose.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "rewards/math/expression.h"

namespace temper::math {

struct Expanded {
  Expression expression;  // what cannot be done stays as it is
  std::string problem;    // "": none; else why the whole is too large
};

// At most 4,000 nodes come out of it.
Expanded Expand(const Expression& expression);

// Nodes to build.
Expression NumberOf(long value);
Expression NegativeOf(Expression x);
Expression DifferenceOf(Expression a, Expression b);
Expression QuotientOf(Expression a, Expression b);
Expression PowerOf(Expression base, Expression exponent);
Expression SumOf(std::vector<Expression> terms);
Expression ProductOf(std::vector<Expression> factors);

bool Mentions(const Expression& expression, const std::string& symbol);  // in a subscript too
Expression Substitute(const Expression& expression, const std::string& symbol, const Expression& value);

}  // namespace temper::math
