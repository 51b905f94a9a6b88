// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "rewards/math/algebra/algebra.h"

namespace temper::math {

// A number as someone wrote it.
struct Number {
  Rational value;
  bool percent = false;  // was written with %; the value is already divided by 100
  std::string unit;      // "dollar", "km", ...; empty: none was written
};

// Reads what ParseLatex reads (rewards/math/latex/latex.h) and what is one written number: whole or decimal,
// a fraction of two, a mixed number, a multiple of a power of ten (1.5e3), with signs, percent and units.
// What asks to be computed (2 * 3, 1 + 1/2, 5!) is none, and neither is a list or a time.
std::optional<Number> ParseNumber(std::string_view text);

// Equal as values, exactly: 1/2 = 0.5 = \frac12 = 50%. Units must agree where both have one. A percentage
// beyond 1% also equals the bare number (50% = 50), because data sets ask "what percentage" and answer
// without the sign.
bool SameNumber(const Number& a, const Number& b);

}  // namespace temper::math
