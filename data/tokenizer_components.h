// SPDX-License-Identifier: Apache-2.0
// The smaller parts of a tokenizer.json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer_json.h"
#include "unicode/normalizer2.h"

namespace temper {

// NFC, NFD, NFKC, NFKD, one after the other (Sequence), by ICU.
class Normalizer {
 public:
  static absl::StatusOr<Normalizer> Parse(const JsonNode& node);
  bool empty() const { return forms_.empty(); }
  absl::StatusOr<std::string> Normalize(std::string_view text) const;

 private:
  absl::Status Add(const JsonNode& node);
  std::vector<const icu::Normalizer2*> forms_;
};

// What the post-processor puts around a text: TemplateProcessing's `single`; ByteLevel puts nothing.
struct PostProcessor {
  std::vector<int32_t> prefix, suffix;
  static absl::StatusOr<PostProcessor> Parse(const JsonNode& node);
};

// Only ByteLevel (alone, or in a Sequence where Fuse may be too) is supported.
absl::Status CheckDecoder(const JsonNode& node);

}  // namespace temper
