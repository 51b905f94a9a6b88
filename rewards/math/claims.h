// SPDX-License-Identifier: Apache-2.0
// What the sentences around an answer claim: that it is the answer, that it is not, or that it was a mistake.
// All are linear in the text.
#pragma once

#include <optional>
#include <string_view>

namespace temper::math {

// Whether the words right before an answer deny it: "is not 5", "cannot be equal to 5", "isn't 5".
bool IsDenied(std::string_view before);

// The same of a box, for which "the answer is no: " is no denial.
bool IsDeniedBox(std::string_view before);

// Whether the words before a number make another value of it, a bound or several: "minus 5", "at least 5",
// "a third of 5", "between 4 and 5".
bool IsChanged(std::string_view before);

// Whether the clause that "the answer is" ends (the last of `before`) does not claim it: "I doubt that the
// answer is", "it is false that", "nobody would say", "a wrong answer is".
bool IsDoubted(std::string_view before);

// What follows an answer and takes it back, from there on: "is wrong", "Actually, it is 9", "I made a
// mistake"; nullopt: nothing does. `strictly`: only what calls it wrong, no "wait".
std::optional<std::string_view> TakenBack(std::string_view behind, bool strictly);

}  // namespace temper::math
