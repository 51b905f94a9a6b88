// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "data/tokenizer_json.h"

namespace temper {

// The `vocab` and `merges` of a BPE model.
class BpeVocabulary {
 public:
  struct Merge {
    int32_t rank, id;  // less is earlier; of the two tokens as one
  };

  // `model` is the `model` of a tokenizer.json.
  static absl::StatusOr<BpeVocabulary> Parse(const JsonNode& model);

  std::optional<int32_t> Id(std::string_view token) const;
  const Merge* FindMerge(int32_t left, int32_t right) const;  // null: none
  // Tokens by id; data() is null where there is none.
  const std::vector<std::string_view>& tokens() const { return tokens_; }
  // Whether what merges make has U+2581 at its start only, alone or as a run: then no merge goes from another
  // character to that sign.
  bool words_start_with_sign() const { return words_start_with_sign_; }
  static constexpr std::string_view kSign = "\xE2\x96\x81";

 private:
  absl::Status ParseTokens(const JsonNode& vocabulary);
  absl::Status ParseMerges(const JsonNode& merges);

  std::unique_ptr<char[]> text_;  // of all tokens
  std::vector<std::string_view> tokens_;
  absl::flat_hash_map<std::string_view, int32_t> ids_;
  absl::flat_hash_map<uint64_t, Merge> merges_;  // by left id << 32 | right id
  bool words_start_with_sign_ = true;
};

}  // namespace temper
