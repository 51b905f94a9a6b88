// SPDX-License-Identifier: Apache-2.0
// What the words beside a number say of it: 72 clips is 72; 72 lakh, 72 and a half and 72 or more are not.
#pragma once

#include <optional>
#include <string_view>

namespace temper::math {

// cm, kWh, miles, dollars, ..: words of two or more letters that are a unit behind a number.
bool IsUnit(std::string_view word);

// Whether the words behind `number` (its digits; "": it is a fraction or a formula), up to the first verb or
// mark, are dress: a unit, what is counted, and what is said of it ("in total", "of fruit", "more than Bob").
// Other numbers, fractions, scales, bounds, bases, ordinals and denials are none; they are known by name, in
// several languages. `known`: words that are dress too, unless they are numbers; nullopt: all are.
bool KeepsValue(std::string_view behind, std::string_view number, std::optional<std::string_view> known);

// Whether the words between an answer's verb ("is", "=") and its number make another value of it, a bound, or
// several: "a third of", "between 5 and", "up to", "one of 7,".
bool MakesAnother(std::string_view before);

}  // namespace temper::math
