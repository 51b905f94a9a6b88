// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "rewards/reward.h"

namespace temper {

// Rule `language`: the share of the thinking's words (before </think>) that are of the target language
// (DeepSeek-R1, arXiv 2501.12948, 2.3.2). A word (ICU's word break) is of a language if all its letters are
// of the language's script. Not counted: code in ```..``` or `..`, LaTeX, URLs, tags, numbers, single letters
// of alphabets. With fewer than min_words counted the score is 1: the reason lists the counts, so that empty
// thinking is seen. The verdict is correct where the share is 1. Languages: en, zh, ja, ko, ru, ar.
absl::StatusOr<std::unique_ptr<Reward>> MakeLanguage(const RuleConfig& config);

// Words of `text` in and outside the scripts of the language. `language` is one of the above.
struct WordCounts {
  int64_t target = 0;
  int64_t counted = 0;
};
WordCounts CountWords(std::string_view text, std::string_view language);

}  // namespace temper
