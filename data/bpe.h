// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "data/tokenizer_json.h"

namespace temper {

// The `model` of a tokenizer.json, of type BPE: a vocabulary and merges in order of rank. Immutable; a thread
// keeps the pieces that it saw last (in a table of fixed size).
class Bpe {
 public:
  static absl::StatusOr<std::unique_ptr<Bpe>> Parse(const JsonNode& model);

  // Appends the ids of a piece. `bytes`: its bytes, to be mapped to the byte alphabet; else it is mapped
  // already.
  void Encode(std::string_view piece, bool bytes, std::vector<int32_t>& ids) const;
  std::optional<int32_t> Id(std::string_view token) const;
  // Tokens by id; data() is null where there is none.
  const std::vector<std::string_view>& tokens() const { return tokens_; }

 private:
  struct Merge {
    int32_t rank, id;
  };
  struct Symbol {
    int32_t id;
    int32_t previous, next;  // -1: none
  };

  Bpe();
  absl::Status ParseOptions(const JsonNode& model);
  absl::Status ParseVocabulary(const JsonNode& vocabulary);
  absl::Status ParseMerges(const JsonNode& merges);
  void EncodeText(std::string_view text, std::vector<int32_t>& ids) const;
  std::vector<Symbol> Characters(std::string_view text) const;
  void ApplyMerges(std::vector<Symbol>& symbols) const;
  const Merge* FindMerge(int32_t left, int32_t right) const;

  const uint64_t serial_;  // which Bpe a cached piece belongs to
  bool ignore_merges_ = false, fuse_unk_ = false;
  std::optional<int32_t> unk_;
  std::unique_ptr<char[]> text_;  // of all tokens
  std::vector<std::string_view> tokens_;
  absl::flat_hash_map<std::string_view, int32_t> ids_;
  absl::flat_hash_map<uint64_t, Merge> merges_;  // by left id << 32 | right id
};

}  // namespace temper
