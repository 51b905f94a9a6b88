// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/json.h"
#include "data/tokenizer/pretokenizer_regex.h"

namespace temper {

// The `pattern` of a Split or a Replace: {"String": text} or {"Regex": expression}.
class TextPattern {
 public:
  static absl::StatusOr<TextPattern> Parse(const JsonNode& node);
  static absl::StatusOr<TextPattern> FromRegex(std::string_view expression, std::string where);
  // Appends the matches, left to right. An empty text has none.
  absl::Status FindAll(std::string_view text, Regex::Scratch& scratch, std::vector<Range>& matches) const;
  // The text that this looks for; empty: it is an expression.
  const std::string& literal() const { return literal_; }

 private:
  std::string literal_;
  std::unique_ptr<Regex> regex_;  // where literal_ is empty
};

// Appends where `literal`, which is not empty, stands.
void FindLiteral(std::string_view text, std::string_view literal, std::vector<Range>& matches);

// `text` with `content` in place of each of `matches`.
std::string Replaced(std::string_view text, const std::vector<Range>& matches, std::string_view content);

}  // namespace temper
