// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "data/tokenizer/bpe_vocabulary.h"
#include "data/tokenizer/json.h"

namespace temper {

// The `model` of a tokenizer.json, of type BPE: a vocabulary and merges in order of rank. Immutable; a thread
// keeps the pieces that it saw last (in a table of fixed size).
class Bpe {
 public:
  static absl::StatusOr<std::unique_ptr<Bpe>> Parse(const JsonNode& model);

  // Appends the ids of a piece. `bytes`: its bytes, to be mapped to the byte alphabet; else it is mapped
  // already.
  void Encode(std::string_view piece, bool bytes, std::vector<int32_t>& ids) const;
  const BpeVocabulary& vocabulary() const { return vocabulary_; }

 private:
  explicit Bpe(BpeVocabulary vocabulary);
  absl::Status ParseOptions(const JsonNode& model);
  void EncodeCached(std::string_view piece, bool bytes, std::vector<int32_t>& ids) const;
  void EncodeBytes(std::string_view piece, std::vector<int32_t>& ids) const;
  void EncodeText(std::string_view text, std::vector<int32_t>& ids) const;
  bool AppendWhole(std::string_view text, std::vector<int32_t>& ids) const;
  void AppendCharacters(std::string_view text, std::vector<int32_t>& ids) const;
  bool AppendFallback(std::string_view character, std::vector<int32_t>& ids) const;
  void Merge(size_t begin, std::vector<int32_t>& ids) const;
  void MergeFew(size_t begin, std::vector<int32_t>& ids) const;
  void MergeMany(size_t begin, std::vector<int32_t>& ids) const;

  const uint64_t serial_;  // which Bpe a cached piece belongs to
  const BpeVocabulary vocabulary_;
  bool ignore_merges_ = false, fuse_unk_ = false, byte_fallback_ = false;
  std::optional<int32_t> unk_;
  bool cuts_words_ = false;              // text may be cut before each sign that starts a word
  std::array<int32_t, 256> byte_level_;  // ids of the byte alphabet; -1: none
  std::array<int32_t, 256> fallback_;    // ids of <0x00> to <0xFF>
};

}  // namespace temper
