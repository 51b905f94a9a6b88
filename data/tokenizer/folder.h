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

class StagedFiles;

// Where a folder keeps the chat templates beside the first (tool_use.jinja, ...).
inline constexpr char kMoreTemplates[] = "additional_chat_templates";

// The files of a tokenizer that lie in the folder, by their names in it, tokenizer.json first: what a
// checkpoint takes along. The forms that temper does not read (tokenizer.model, vocab.json and merges.txt)
// are among them.
std::vector<std::string> TokenizerFileNames(const std::string& folder);
bool HasTokenizerFiles(const std::string& folder);

// Copies them, or reads them into `staged`; what is in `to` already stays. A folder that it makes there is
// not synced: `to` is an AtomicDirectory's.
absl::Status CopyTokenizerFiles(const std::string& from, const std::string& to,
                                StagedFiles* staged = nullptr);

// A tokenizer's files that say what it does, by name, the tokenizer.json first.
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
