// SPDX-License-Identifier: Apache-2.0
// Statements about who is what, for knights_and_knaves and propositional_logic.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.h"

namespace temper::procedural {

// In prefix form, as rows have it: "implies A or not B C" is A -> (not B or C). Words: not, and, or, implies,
// iff, and the names; at most 64 of them, at most 32 names.
class Formula {
 public:
  static std::optional<Formula> Read(std::string_view prefix, const std::vector<std::string>& names);
  // `literals` of them, with names that are different where there are enough, joined at random.
  static Formula Draw(RandomStream& random, int names, int literals);

  // Bit i of `truths` is the truth of name i.
  bool Holds(uint32_t truths) const;
  std::string Prefix(const std::vector<std::string>& names) const;
  // In words: "if A then (not B or C)". `literal` writes a name, or its negation.
  std::string Words(const std::function<std::string(int name, bool is_true)>& literal) const;

 private:
  enum Operation : int { kNot = -1, kAnd = -2, kOr = -3, kImplies = -4, kIff = -5 };
  std::vector<int> code_;  // prefix; names are 0, 1, ..
};

// "A is a knight, B is a knave", "A: true; B = false": for each name its one value, as bits (`yes` is 1).
// Nothing where a word is something else, or a name has none or two.
std::optional<uint32_t> ReadTruths(std::string_view text, const std::vector<std::string>& names,
                                   std::string_view yes, std::string_view no);

}  // namespace temper::procedural
