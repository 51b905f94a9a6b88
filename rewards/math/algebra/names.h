// SPDX-License-Identifier: Apache-2.0
// What the names in an expression mean to rewards/math/algebra/ball.
#pragma once

#include <string>
#include <string_view>

#include "rewards/math/algebra/algebra.h"
#include "rewards/math/expression.h"

namespace temper::math {

using AcbFunction = void (*)(acb_t, const acb_t, slong);

// Of one argument; null: not of this kind.
AcbFunction SmoothFunction(std::string_view name);  // sin: its values near a point tell of all others
AcbFunction CutFunction(std::string_view name);  // arcsin: they do not; log, abs and roots are not among them
bool IsStepwise(std::string_view name);   // floor, max, conjugate: of real numbers, or nowhere differentiable
bool IsValueless(std::string_view name);  // limit, piecewise: no function of numbers
bool IsUnknownFunction(const Expression& expression);  // f(x): a function without a meaning of its own

// Bits that tell the function from a limit that it nears: tanh(x) is 1 but for 2 e^(-2x).
slong LimitBits(std::string_view name, const Ball& argument);

// The name by which symbols are told apart: case counts but for words of several letters; Greek names are no
// words.
std::string SymbolKey(std::string_view name);
bool HasSymbol(const Expression& expression);

}  // namespace temper::math
