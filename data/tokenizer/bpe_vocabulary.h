// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "data/tokenizer/json.h"

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
  // A hash table of pairs with open addressing, at most two thirds full, and before it a bit for each of
  // eight times as many hashes: most pairs that are looked for have no merge, and this table of bits stays in
  // the cache.
  struct Slot {
    int32_t left, right;  // -1: free
    Merge merge;
  };
  static uint64_t Hash(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right)) * 0x9E3779B97F4A7C15u;
  }
  size_t SlotOf(int32_t left, int32_t right) const;  // the pair's, or the free one where it belongs
  std::vector<Slot> merges_;                         // a power of two
  std::vector<uint64_t> has_hash_;
  int shift_ = 0;  // 64 - log2 of the slots
  bool words_start_with_sign_ = true;
};

inline size_t BpeVocabulary::SlotOf(int32_t left, int32_t right) const {
  size_t at = Hash(left, right) >> shift_;
  while (merges_[at].left >= 0 && (merges_[at].left != left || merges_[at].right != right)) {
    at = (at + 1) & (merges_.size() - 1);
  }
  return at;
}

inline const BpeVocabulary::Merge* BpeVocabulary::FindMerge(int32_t left, int32_t right) const {
  const uint64_t bit = Hash(left, right) >> (shift_ - 3);
  if ((has_hash_[bit / 64] >> bit % 64 & 1) == 0) return nullptr;
  const Slot& slot = merges_[SlotOf(left, right)];
  return slot.left < 0 ? nullptr : &slot.merge;
}

}  // namespace temper
