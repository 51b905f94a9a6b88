// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/status.h"

namespace temper {

// A tokenizer's files, by name, the tokenizer.json first.
struct TokenizerFolder {
  std::string path, tokenizer_json;  // the folder (empty: a lone file), and the path of its tokenizer.json
  std::vector<std::pair<std::string, std::string>> files;
};
absl::StatusOr<TokenizerFolder> ReadTokenizerFolder(const std::string& path);

// Ids that end a text: generation_config.json's eos_token_id, else tokenizer_config.json's eos_token, else
// config.json's eos_token_id; ascending. Ids not below vocab_size are errors.
absl::StatusOr<std::vector<int32_t>> ReadEosIds(
    const TokenizerFolder& folder, int64_t vocab_size,
    const std::function<std::optional<int32_t>(std::string_view)>& token_id);

}  // namespace temper
