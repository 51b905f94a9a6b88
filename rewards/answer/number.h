// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace temper {

// An exact number as someone wrote it: sign * numerator / denominator, in limbs of nine decimal digits,
// lowest first, without leading zeros. Not reduced.
struct Number {
  bool negative = false;
  std::vector<uint32_t> numerator;
  std::vector<uint32_t> denominator;
  bool percent = false;  // was written with %; the value is already divided by 100
  std::string unit;      // "dollars", "km", ...; empty: none was written
};

// Reads whole numbers, decimals, a/b, \frac ab, mixed numbers (2 1/2), 1,000,000 and 1 000, 1.5e3, 1.5 \times
// 10^3, signs, currency signs, percent and a table of units, in plain text or LaTeX. The whole text must be
// that; nothing is guessed (1,22 and 1/2/3 are no numbers). At most 1,000 digits, exponents up to 400.
std::optional<Number> ParseNumber(std::string_view text);

// Equal as values, exactly: 1/2 = 0.5 = \frac12 = 50%. Units must agree where both have one. A percentage
// beyond 1% also equals the bare number (50% = 50), because data sets ask "what percentage" and answer
// without the sign.
bool SameNumber(const Number& a, const Number& b);

// One spelling of each value, for votes: "-1/2". Values over 18 digits keep their own spelling.
std::string NumberKey(const Number& number);

}  // namespace temper
