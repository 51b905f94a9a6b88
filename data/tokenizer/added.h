// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "data/tokenizer/json.h"

namespace temper {

// A token that is found in the text before BPE.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;    // left out of what people read
  bool normalized = true;  // looked for in normalized text, by its normalized content
  bool lstrip = false;     // takes the white space on its left with it
  bool rstrip = false;
  bool single_word = false;  // not next to a letter or digit
};
absl::StatusOr<std::vector<AddedToken>> ParseAddedTokens(const JsonNode& tokens);

// A trie of added tokens.
class AddedTokenMatcher {
 public:
  // A part of a text: a token, or (id -1) text between tokens.
  struct Part {
    std::string_view text;
    int32_t id;
  };

  // Of two tokens with the same content the first one counts. `token` must outlive this.
  void Add(std::string_view content, const AddedToken* token);
  // Leftmost first, then longest. In `plain`, parts of the text (ascending, apart), no token is found, nor
  // one that reaches into them.
  std::vector<Part> Split(std::string_view text, absl::Span<const std::string_view> plain = {}) const;

 private:
  struct Found {
    const AddedToken* token = nullptr;
    size_t size = 0;
  };
  Found LongestAt(std::string_view text, size_t at) const;

  absl::flat_hash_map<uint64_t, uint32_t> children_;   // by node << 8 | byte
  std::vector<const AddedToken*> tokens_ = {nullptr};  // by node, the root first
  bool starts_[256] = {};
};

}  // namespace temper
