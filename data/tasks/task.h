// SPDX-License-Identifier: Apache-2.0
// What the procedural tasks share; not for others.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tasks/procedural.h"

namespace temper::procedural {

inline int64_t Between(RandomStream& random, int64_t min, int64_t max) {
  return min + static_cast<int64_t>(random.NextBelow(static_cast<uint64_t>(max - min) + 1));
}
inline bool Chance(RandomStream& random, double share) { return random.NextUniform() < share; }
template <class T, size_t n>
const T& Pick(RandomStream& random, const T (&values)[n]) {
  return values[random.NextBelow(n)];
}
template <class T>
void Shuffle(RandomStream& random, std::vector<T>& values) {
  for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[random.NextBelow(i)]);
}

// Longer answers are wrong unread.
constexpr size_t kMaxAnswerBytes = 4096;

// "17", "+17", "-1,700", "17.0", "17." and "$17$" with white space around; U+2212 is a minus. At most 18
// digits.
std::optional<int64_t> ReadInteger(std::string_view text);
std::string_view Trimmed(std::string_view text);  // without ASCII white space around
// The row's "answer".
std::string_view ReferenceOf(const Json& row);
// "4 is not 3", for any bytes.
std::string IsNot(std::string_view answer, std::string_view reference);

// Of each task its draw, and its check with the fields that it reads beside the answer.
using Draw = Question(RandomStream& random, int level);
Draw DrawArithmetic, DrawEquation, DrawLegCounting, DrawBaseConversion, DrawCountdown, DrawNumberSorting,
    DrawLetterCounting, DrawStringManipulation, DrawKnights, DrawPropositional, DrawSudoku, DrawCalendar;
using Check = std::string(const Json& row, std::string_view answer);
Check WhyWrongInteger;         // the answer is the row's, as an integer
Check WhyWrongEquation;        // the same, "x = 3", too
Check WhyWrongBaseConversion;  // to_base
Check WhyWrongCountdown;       // numbers, target
Check WhyWrongNumberSorting;   // numbers, direction
Check WhyWrongString;
Check WhyWrongKnights;        // names, statements
Check WhyWrongPropositional;  // variables, statements
Check WhyWrongSudoku;         // puzzle
Check WhyWrongCalendar;       // kind

}  // namespace temper::procedural
