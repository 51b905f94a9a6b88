// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "data/tokenizer/tokenizer.h"

namespace temper {

// Whether a completion has just reached one of the strings that end it. The text that counts is the
// completion's own, special tokens with their content. A function of the tokens alone. Any thread.
class StopStrings {
 public:
  // None of `strings` is empty; `tokenizer` outlives this and may be null where there are none.
  StopStrings(std::vector<std::string> strings, const Tokenizer* tokenizer);

  // Whether the last of `tokens` completes a stop string. Looks at the last few tokens only.
  bool Reached(absl::Span<const int32_t> tokens) const;

 private:
  std::vector<std::string> strings_;
  const Tokenizer* tokenizer_;
  size_t longest_ = 0;  // bytes
};

}  // namespace temper
