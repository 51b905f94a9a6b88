// SPDX-License-Identifier: Apache-2.0
// What the steps of normalizers, pre-tokenizers and decoders share.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
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

// The options that the pre-tokenizer and the decoder Metaspace share: SentencePiece's sign for a space.
struct Metaspace {
  enum class Prepend { kAlways, kFirst, kNever };  // before a piece; only before the whole text; not at all
  std::string replacement;                         // one character
  Prepend prepend = Prepend::kAlways;
  bool split = true;  // a piece begins with each sign
  static absl::StatusOr<Metaspace> Parse(const JsonNode& node);
};

// Calls `add` with a step, or, where it is a Sequence, with each of its `list`, in order.
absl::Status ForEachStep(const JsonNode& node, std::string_view list,
                         absl::FunctionRef<absl::Status(const JsonNode&)> add);

}  // namespace temper
