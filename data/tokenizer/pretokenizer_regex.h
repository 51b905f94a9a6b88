// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"

struct re_pattern_buffer;
struct re_registers;
struct OnigMatchParamStruct;

namespace temper {

// A part of a text, [begin, end) in bytes.
struct Range {
  size_t begin, end;
  bool operator==(const Range&) const = default;
};

// Oniguruma, with its own syntax, on UTF-8. Immutable; bounded in backtracking and in memory.
class Regex {
 public:
  // Working memory of searches, for one thread.
  class Scratch {
   public:
    explicit Scratch(size_t text_size);  // of the whole text: the bound on backtracking grows with it
    ~Scratch();

   private:
    friend class Regex;
    re_registers* region_;
    OnigMatchParamStruct* limits_;
  };

  // `where` names the pattern in errors.
  static absl::StatusOr<std::unique_ptr<Regex>> Compile(std::string_view pattern, std::string where);
  ~Regex();
  // Appends the matches, left to right. None is empty right after another match.
  absl::Status FindAll(std::string_view text, Scratch& scratch, std::vector<Range>& matches) const;

 private:
  Regex(re_pattern_buffer* regex, std::string where) : regex_(regex), where_(std::move(where)) {}
  re_pattern_buffer* const regex_;
  const std::string where_;
};

}  // namespace temper
