// SPDX-License-Identifier: Apache-2.0
// JSON as Python's json module writes it, which is how the files of a Hugging Face directory are made:
// numbers of any size (tokenizers' model_max_length is 10^30 where nobody set one), NaN, Infinity and
// -Infinity.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/json/json.h"
#include "core/status.h"

namespace temper {

// The text with each number that JSON or 64 bits do not hold as a string of the same characters: a field that
// nobody reads is no obstacle, and who reads it is told what stands there. Lines stay where they are.
std::string QuotePythonNumbers(std::string_view text);

// ParseJson of QuotePythonNumbers.
absl::StatusOr<Json> ParsePythonJson(std::string_view text, const std::string& name);

// A member of an object as it is written, with its quotes; `name` is that of the key without them (escapes
// stay as they are).
struct WrittenMember {
  std::string_view name, value;
};
// The members of the object that `text` is (ParsePythonJson has read it), in order.
std::vector<WrittenMember> WrittenMembers(std::string_view text);

}  // namespace temper
