// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "data/tokenizer/json.h"

namespace temper {

// The options that the pre-tokenizer and the decoder Metaspace share: SentencePiece's sign for a space.
struct Metaspace {
  enum class Prepend { kAlways, kFirst, kNever };  // before a piece; only before the whole text; not at all
  std::string replacement;                         // one character
  Prepend prepend = Prepend::kAlways;
  bool split = true;  // a piece begins with each sign
  static absl::StatusOr<Metaspace> Parse(const JsonNode& node);
};

}  // namespace temper
