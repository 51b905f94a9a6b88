// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer/folder.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/files/folder_link.h"
#include "core/files/staged.h"
#include "core/one_of.h"
#include "core/text.h"
#include "data/tokenizer/json.h"

namespace temper {
namespace {

constexpr int64_t kFileLimit = int64_t{256} << 20;

const std::string* FindFile(const TokenizerFolder& folder, std::string_view name) {
  for (const auto& [each, bytes] : folder.files) {
    if (each == name) return &bytes;
  }
  return nullptr;
}

// eos_token_id: a number or a list of them. Nothing where it is absent.
absl::StatusOr<std::optional<std::vector<int32_t>>> ReadIds(const JsonNode& root, int64_t vocab_size) {
  const std::optional<JsonNode> node = root.Find("eos_token_id");
  if (!node.has_value()) return std::nullopt;
  std::vector<JsonNode> nodes = {*node};
  if (node->value().is_array()) {
    TEMPER_ASSIGN_OR_RETURN(nodes, node->Elements());
  }
  std::vector<int32_t> ids;
  for (const JsonNode& each : nodes) {
    TEMPER_ASSIGN_OR_RETURN(const int64_t id, each.Int());
    if (id < 0 || id >= vocab_size) {
      return each.Error(absl::StrCat("id ", id, " is not in the vocabulary of ", vocab_size));
    }
    ids.push_back(static_cast<int32_t>(id));
  }
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

// eos_token: "<eos>" or {"content": "<eos>"}.
absl::StatusOr<std::string_view> TokenText(const JsonNode& node) {
  if (node.value().is_object()) return node.GetString("content");
  return node.String();
}

// Checkpoints give these files away, so a link may not lead to anything else: only to a file of the same
// name, as in folders of links to a model that lies elsewhere.
absl::Status CheckLink(const std::string& folder, const std::string& name) {
  const std::filesystem::path target = OutsideTarget(folder, name);
  if (target.empty() || target.filename() == std::filesystem::path(name).filename()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(Printable(folder + "/" + name, 1000), ": is a link to ", Printable(target.string(), 1000),
                   ", outside of the folder and of another name; copy it if it belongs to the model"));
}

}  // namespace

std::vector<std::string> TokenizerFileNames(const std::string& folder) {
  std::vector<std::string> names;
  for (const char* name :
       {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
        "chat_template.jinja", "tokenizer.model", "vocab.json", "merges.txt"}) {
    if (FileExists(absl::StrCat(folder, "/", name))) names.push_back(name);
  }
  // No such folder is no error.
  for (const std::string& name :
       ListDirectory(absl::StrCat(folder, "/", kMoreTemplates)).value_or(std::vector<std::string>())) {
    if (name.ends_with(".jinja")) names.push_back(absl::StrCat(kMoreTemplates, "/", name));
  }
  return names;
}

bool HasTokenizerFiles(const std::string& folder) { return !TokenizerFileNames(folder).empty(); }

absl::Status CopyTokenizerFiles(const std::string& from, const std::string& to, StagedFiles* staged) {
  for (const std::string& name : TokenizerFileNames(from)) {
    const std::string target = absl::StrCat(to, "/", name);
    if (FileExists(target)) continue;
    TEMPER_RETURN_IF_ERROR(CheckLink(from, name));
    TEMPER_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(absl::StrCat(from, "/", name), kFileLimit));
    if (name.find('/') != name.npos)
      TEMPER_RETURN_IF_ERROR(MakePassingDirectory(absl::StrCat(to, "/", kMoreTemplates)));
    TEMPER_RETURN_IF_ERROR(WriteOrStage(target, bytes, staged));
  }
  return absl::OkStatus();
}

absl::StatusOr<TokenizerFolder> ReadTokenizerFolder(const std::string& path) {
  TokenizerFolder folder;
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    folder.tokenizer_json = path;
    TEMPER_ASSIGN_OR_RETURN(std::string bytes, ReadFile(path, kFileLimit));
    folder.files.emplace_back("tokenizer.json", std::move(bytes));
    return folder;
  }
  folder.path = path;
  folder.tokenizer_json = (std::filesystem::path(path) / "tokenizer.json").string();
  std::vector<std::string> names = TokenizerFileNames(path);
  if (!names.empty() && names[0] != "tokenizer.json") {
    return absl::NotFoundError(
        absl::StrCat(folder.tokenizer_json, ": is not there, only ", Printable(names[0]),
                     ": AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR) of Transformers writes it"));
  }
  if (names.empty()) names.push_back("tokenizer.json");
  if (FileExists(absl::StrCat(path, "/generation_config.json"))) names.push_back("generation_config.json");
  for (const std::string& name : names) {
    const bool is_other_form = IsOneOf(name, {"tokenizer.model", "vocab.json", "merges.txt"});
    if (is_other_form || name == "added_tokens.json") continue;
    const std::string file = (std::filesystem::path(path) / name).string();
    TEMPER_RETURN_IF_ERROR(CheckLink(path, name));
    TEMPER_ASSIGN_OR_RETURN(std::string bytes, ReadFile(file, kFileLimit));
    // Checked here, since some are read only where others do not say enough, yet checkpoints carry them all.
    if (file.ends_with(".json")) TEMPER_RETURN_IF_ERROR(JsonFile::Parse(bytes, file).status());
    folder.files.emplace_back(name, std::move(bytes));
  }
  return folder;
}

absl::StatusOr<std::vector<int32_t>> ReadEosIds(
    const TokenizerFolder& folder, int64_t vocab_size,
    const std::function<std::optional<int32_t>(std::string_view)>& token_id) {
  if (folder.path.empty()) return std::vector<int32_t>();
  const auto name = [&](const char* file) { return (std::filesystem::path(folder.path) / file).string(); };
  if (const std::string* bytes = FindFile(folder, "generation_config.json")) {
    TEMPER_ASSIGN_OR_RETURN(const auto file, JsonFile::Parse(*bytes, name("generation_config.json")));
    TEMPER_ASSIGN_OR_RETURN(auto ids, ReadIds(file->root(), vocab_size));
    if (ids.has_value()) return *std::move(ids);
  }
  if (const std::string* bytes = FindFile(folder, "tokenizer_config.json")) {
    TEMPER_ASSIGN_OR_RETURN(const auto file, JsonFile::Parse(*bytes, name("tokenizer_config.json")));
    if (const std::optional<JsonNode> eos = file->root().Find("eos_token"); eos.has_value()) {
      TEMPER_ASSIGN_OR_RETURN(const std::string_view text, TokenText(*eos));
      const std::optional<int32_t> id = token_id(text);
      if (!id.has_value()) return eos->Error(absl::StrCat(Printable(text), " is not in the vocabulary"));
      return std::vector<int32_t>{*id};
    }
  }
  if (!FileExists(name("config.json"))) return std::vector<int32_t>();
  TEMPER_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(name("config.json"), kFileLimit));
  TEMPER_ASSIGN_OR_RETURN(const auto file, JsonFile::Parse(bytes, name("config.json")));
  TEMPER_ASSIGN_OR_RETURN(auto ids, ReadIds(file->root(), vocab_size));
  return ids.has_value() ? *std::move(ids) : std::vector<int32_t>();
}

}  // namespace temper
