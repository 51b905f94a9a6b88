// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/json.h"
#include "data/tokenizer/steps.h"
#include "unicode/normalizer2.h"

namespace temper {

// The `normalizer` of a tokenizer.json: NFC, NFD, NFKC, NFKD, Lowercase, Nmt, Strip, StripAccents, Prepend,
// Replace and ByteLevel, in a row (Sequence). The Unicode forms are those of Unicode 9.0, as the
// `tokenizers` package has them: characters that came later stay as they are.
class Normalizer {
 public:
  struct Text {
    std::string text;
    bool keeps_start = true;  // it begins with what the original begins with: nothing was taken away in front
  };

  static absl::StatusOr<Normalizer> Parse(const JsonNode& node);
  bool empty() const { return steps_.empty(); }
  absl::StatusOr<Text> Normalize(std::string_view text, Regex::Scratch& scratch) const;

 private:
  enum class Kind { kForm, kLowercase, kNmt, kStrip, kStripAccents, kPrepend, kReplace, kByteLevel };
  struct Step {
    Kind kind = Kind::kForm;
    const icu::Normalizer2* form = nullptr;
    bool left = false, right = false;  // Strip
    std::string content;               // of Prepend and Replace
    TextPattern pattern;               // Replace
  };

  absl::Status Add(const JsonNode& node);
  // `bytes`: of the text that all steps began with.
  static absl::Status Apply(const Step& step, size_t bytes, Text& text, Regex::Scratch& scratch);

  std::vector<Step> steps_;
};

}  // namespace temper
