// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/json/json.h"
#include "core/status.h"

namespace temper {

// What an instruction asks, its `kwargs` read. What its kind does not need is left as it is here.
struct InstructionArguments {
  std::vector<std::string> words;  // keywords, forbidden words
  std::string word;                // keyword, letter, phrase, language, marker, ..
  int64_t count = 0;
  int64_t nth = 0;
  bool at_least = true;  // relation "at least"; else "less than"
};

struct InstructionKind;

// An instruction of a row.
struct Instruction {
  const InstructionKind* kind = nullptr;
  InstructionArguments arguments;

  const char* id() const;  // "length_constraints:number_words"
  bool Followed(std::string_view answer) const;
};

// The names of the 25 kinds.
std::vector<std::string> InstructionIds();

// A row's instructions. Errors name what is wrong: no list, an unknown kind (and the nearest), something that
// a kind needs and the row has not.
absl::StatusOr<std::vector<Instruction>> ReadInstructions(const Json& row);

}  // namespace temper
