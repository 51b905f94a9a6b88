// SPDX-License-Identifier: Apache-2.0
// Jinja's lexer with trim_blocks and lstrip_blocks on, as Transformers sets it: text and the tokens of tags.
#pragma once

#include <string>
#include <vector>

#include "core/status.h"
#include "data/chat/jinja/text.h"

namespace temper::jinja {

struct Token {
  enum class Type {
    kText,
    kBlockBegin,
    kBlockEnd,
    kOutputBegin,
    kOutputEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd
  };
  Type type = Type::kEnd;
  int line = 1;
  Text text;         // of kText and kString
  std::string word;  // of kName and kOperator
  int64_t integer = 0;
  double number = 0;

  bool Is(std::string_view operator_sign) const { return type == Type::kOperator && word == operator_sign; }
  bool IsName(std::string_view name) const { return type == Type::kName && word == name; }
};

// Ends in a kEnd. Errors name `name` and the line.
absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source, const std::string& name);

}  // namespace temper::jinja
