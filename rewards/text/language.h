// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/config/config.h"
#include "rewards/rule.h"

namespace temper {

struct LanguageOptions {
  std::string language = "en";
  int64_t min_words = 5;

  template <class V>
  void Fields(V& v) {
    v.Field(
        "language", language,
        "Target language of the thinking, ISO 639-1 (en, zh, fr, ..); a row's own `language` comes first.");
    v.Field("min_words", min_words, "With fewer words than this the score is 1.", AtLeast(1));
  }
};

// Rule `language`: the share of the thinking's words (before </think>) that are of the target language
// (DeepSeek-R1, arXiv 2501.12948, 2.3.2). A word (ICU's word break) whose letters are not all of the target's
// script is of another language; where languages share the script (Latin, Cyrillic, Arabic, Devanagari), CLD2
// says for each sentence, or for parts of a long one, which it is; words it knows nothing of are left out.
// Not counted: code in ```..``` or `..`, LaTeX, URLs, tags, numbers, single letters of alphabets. With fewer
// than min_words counted the score is 1: the reason lists the counts, so that empty thinking is seen. The
// verdict is correct where the share is 1. A row's own field `language`, where it is one of LanguageNames,
// goes before the option. The first 8 MiB count.
absl::StatusOr<std::unique_ptr<Reward>> MakeLanguage(const LanguageOptions& config);

// ISO 639-1 codes.
std::vector<std::string> LanguageNames();

// Words of `text` by the above. `language` is one of LanguageNames.
struct WordCounts {
  int64_t target = 0;
  int64_t counted = 0;
  int64_t unknown = 0;  // left out, because CLD2 knows no language for them
};
WordCounts CountWords(std::string_view text, std::string_view language);

// The language that most of the text is in, of LanguageNames or another code of CLD2's; empty: unknown.
std::string DetectLanguage(std::string_view text);

}  // namespace temper
