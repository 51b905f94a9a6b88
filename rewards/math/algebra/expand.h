// SPDX-License-Identifier: Apache-2.0
// What an answer may leave to be done: sums and products over a finite range, derivatives, integrals of
// polynomials, arithmetic of matrices, their determinant, trace and transpose.
#pragma once

#include <optional>
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

// What it is done by. Derivatives, and integrals of polynomials, sine, cosine and exp, by rule (calculus.cc).
// None: no rule, or too large.
std::optional<Expression> Derivative(const Expression& derivative);  // body, variable, order
// body, variable, low, high. One without bounds is known up to a constant only: none.
std::optional<Expression> Integral(const Expression& integral);

// Matrices written out: arithmetic on trees (matrix.cc).
// A sum, product or power in which a matrix occurs, as one matrix. None: there is none, or the shapes do not
// fit, or it is too large.
std::optional<Expression> MatrixArithmetic(const Expression& expression);
// det, trace, transpose.
std::optional<Expression> MatrixFunction(const std::string& name, const Expression& matrix);

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
