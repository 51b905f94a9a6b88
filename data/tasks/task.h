// SPDX-License-Identifier: Apache-2.0
// What the procedural tasks share; not for others. Of each task its draw and its check (procedural.h); the
// fields that the check reads stand beside it.
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

// The answer is the row's, as an integer.
std::string WhyWrongInteger(const Json& row, std::string_view answer);

Question DrawArithmetic(RandomStream& random, int level);
Question DrawEquation(RandomStream& random, int level);
std::string WhyWrongEquation(const Json& row, std::string_view answer);  // "x = 3", too
Question DrawLegCounting(RandomStream& random, int level);

Question DrawBaseConversion(RandomStream& random, int level);
std::string WhyWrongBaseConversion(const Json& row, std::string_view answer);  // to_base

Question DrawCountdown(RandomStream& random, int level);
std::string WhyWrongCountdown(const Json& row, std::string_view answer);  // numbers, target

Question DrawNumberSorting(RandomStream& random, int level);
std::string WhyWrongNumberSorting(const Json& row, std::string_view answer);  // numbers, direction

Question DrawLetterCounting(RandomStream& random, int level);
Question DrawStringManipulation(RandomStream& random, int level);
std::string WhyWrongString(const Json& row, std::string_view answer);

Question DrawKnights(RandomStream& random, int level);
std::string WhyWrongKnights(const Json& row, std::string_view answer);  // names, statements

Question DrawPropositional(RandomStream& random, int level);
std::string WhyWrongPropositional(const Json& row, std::string_view answer);  // variables, statements

Question DrawSudoku(RandomStream& random, int level);
std::string WhyWrongSudoku(const Json& row, std::string_view answer);  // puzzle

Question DrawCalendar(RandomStream& random, int level);
std::string WhyWrongCalendar(const Json& row, std::string_view answer);  // kind

}  // namespace temper::procedural
