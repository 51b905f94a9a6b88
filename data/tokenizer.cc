// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/text.h"
#include "data/bpe.h"
#include "data/byte_level.h"
#include "data/pretokenizer.h"
#include "data/tokenizer_added.h"
#include "data/tokenizer_components.h"
#include "data/tokenizer_folder.h"
#include "data/tokenizer_json.h"

namespace temper {
namespace {

constexpr size_t kTextLimit = size_t{1} << 28;  // ICU and Oniguruma count in ints, and NFKC makes text longer

}  // namespace

struct Tokenizer::State {
  std::vector<std::pair<std::string, std::string>> files;
  std::vector<int32_t> eos_ids;
  std::vector<AddedToken> added;
  absl::flat_hash_map<std::string_view, const AddedToken*> added_by_content;
  AddedTokenMatcher raw_matcher, normalized_matcher;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  PostProcessor post_processor;
  std::unique_ptr<Bpe> bpe;
  struct Token {
    std::string bytes;
    bool known = false, special = false;
  };
  std::vector<Token> tokens;  // by id

  absl::Status Parse(const JsonNode& root);
  absl::Status AddTokens(const JsonNode& node);
  absl::Status BuildMatchers();
  absl::Status EncodePlain(std::string_view normalized, Regex::Scratch& scratch,
                           std::vector<int32_t>& ids) const;
};

absl::Status Tokenizer::State::Parse(const JsonNode& root) {
  TEMPER_ASSIGN_OR_RETURN(const JsonNode model, root.Get("model"));
  TEMPER_ASSIGN_OR_RETURN(bpe, Bpe::Parse(model));
  if (const auto node = root.Find("normalizer"); node.has_value()) {
    TEMPER_ASSIGN_OR_RETURN(normalizer, Normalizer::Parse(*node));
  }
  TEMPER_ASSIGN_OR_RETURN(const JsonNode pre_tokenizer_node, root.Get("pre_tokenizer"));
  TEMPER_ASSIGN_OR_RETURN(pre_tokenizer, PreTokenizer::Parse(pre_tokenizer_node));
  TEMPER_ASSIGN_OR_RETURN(const JsonNode decoder, root.Get("decoder"));
  TEMPER_RETURN_IF_ERROR(CheckDecoder(decoder));

  for (const std::string_view token : bpe->tokens()) {
    tokens.push_back({FromByteLevel(token).value_or(std::string(token)), token.data() != nullptr, false});
  }
  if (const auto node = root.Find("added_tokens"); node.has_value()) TEMPER_RETURN_IF_ERROR(AddTokens(*node));
  TEMPER_RETURN_IF_ERROR(BuildMatchers());

  if (const auto node = root.Find("post_processor"); node.has_value()) {
    TEMPER_ASSIGN_OR_RETURN(post_processor, PostProcessor::Parse(*node));
    for (const auto* ids : {&post_processor.prefix, &post_processor.suffix}) {
      for (const int32_t id : *ids) {
        if (static_cast<size_t>(id) >= tokens.size() || !tokens[id].known) {
          return node->Error(absl::StrCat("id ", id, " is not in the vocabulary"));
        }
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::State::AddTokens(const JsonNode& node) {
  TEMPER_ASSIGN_OR_RETURN(added, ParseAddedTokens(node));
  const size_t limit = tokens.size() + 2 * added.size() + 65536;
  for (size_t i = 0; i < added.size(); ++i) {
    const AddedToken& token = added[i];
    const size_t id = token.id;
    const std::optional<int32_t> in_vocabulary = bpe->Id(token.content);
    if (id >= limit) return node.ElementError(i, absl::StrCat("id ", id, " is out of range"));
    if (in_vocabulary.has_value() && *in_vocabulary != token.id) {
      return node.ElementError(i, absl::StrCat("has id ", id, ", but ", Printable(token.content), " has id ",
                                               *in_vocabulary, " in model.vocab"));
    }
    if (!in_vocabulary.has_value() && id < tokens.size() && tokens[id].known) {
      return node.ElementError(i, absl::StrCat("id ", id, " is that of another token in model.vocab"));
    }
    if (id >= tokens.size()) tokens.resize(id + 1);
    tokens[id] = {token.content, true, token.special};
    added_by_content.emplace(token.content, &token);
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::State::BuildMatchers() {
  for (const bool special : {true, false}) {
    for (const AddedToken& token : added) {
      if (token.special != special) continue;
      if (!token.normalized) {
        raw_matcher.Add(token.content, &token);
        continue;
      }
      TEMPER_ASSIGN_OR_RETURN(const std::string content, normalizer.Normalize(token.content));
      normalized_matcher.Add(content, &token);
      tokens[token.id].bytes = content;  // as the package decodes it
    }
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::State::EncodePlain(std::string_view normalized, Regex::Scratch& scratch,
                                           std::vector<int32_t>& ids) const {
  TEMPER_ASSIGN_OR_RETURN(const PreTokenizer::Pieces pieces, pre_tokenizer.Split(normalized, scratch));
  const std::string_view text = pieces.text;
  for (const Range& piece : pieces.ranges) {
    bpe->Encode(text.substr(piece.begin, piece.end - piece.begin), pre_tokenizer.pieces_are_bytes(), ids);
  }
  return absl::OkStatus();
}

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(TokenizerFolder folder, ReadTokenizerFolder(path));
  auto state = std::make_unique<State>();
  {
    TEMPER_ASSIGN_OR_RETURN(const auto file, JsonFile::Parse(folder.files[0].second, folder.tokenizer_json));
    TEMPER_RETURN_IF_ERROR(state->Parse(file->root()));
  }
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer(std::move(state)));
  const auto id = [&](std::string_view token) { return tokenizer->TokenId(token); };
  TEMPER_ASSIGN_OR_RETURN(tokenizer->state_->eos_ids, ReadEosIds(folder, tokenizer->vocab_size(), id));
  tokenizer->state_->files = std::move(folder.files);
  return tokenizer;
}

int64_t Tokenizer::vocab_size() const { return static_cast<int64_t>(state_->tokens.size()); }
const std::vector<int32_t>& Tokenizer::eos_ids() const { return state_->eos_ids; }
const std::vector<std::pair<std::string, std::string>>& Tokenizer::files() const { return state_->files; }

std::optional<int32_t> Tokenizer::TokenId(std::string_view token) const {
  const auto added = state_->added_by_content.find(token);
  return added != state_->added_by_content.end() ? added->second->id : state_->bpe->Id(token);
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view text,
                                                       const EncodeOptions& options) const {
  if (text.size() > kTextLimit) {
    return absl::InvalidArgumentError(
        absl::StrCat("a text of ", text.size(), " bytes; encode it in parts of at most ", kTextLimit));
  }
  if (!simdjson::validate_utf8(text.data(), text.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("the text is not UTF-8: byte ", FirstInvalidUtf8(text) + 1));
  }
  using Part = AddedTokenMatcher::Part;
  const State& state = *state_;
  Regex::Scratch scratch(text.size());
  std::vector<int32_t> ids;
  if (options.add_special_tokens) ids = state.post_processor.prefix;
  // Tokens of the raw text first, then those of each normalized remainder.
  const auto split = [&](const AddedTokenMatcher& matcher, std::string_view part) {
    return options.added_tokens ? matcher.Split(part) : std::vector<Part>{{part, -1}};
  };
  for (const Part& raw : split(state.raw_matcher, text)) {
    if (raw.id >= 0) {
      ids.push_back(raw.id);
      continue;
    }
    std::string normalized;
    if (!state.normalizer.empty()) {
      TEMPER_ASSIGN_OR_RETURN(normalized, state.normalizer.Normalize(raw.text));
    }
    for (const Part& part :
         split(state.normalized_matcher, state.normalizer.empty() ? raw.text : normalized)) {
      if (part.id >= 0) {
        ids.push_back(part.id);
      } else {
        TEMPER_RETURN_IF_ERROR(state.EncodePlain(part.text, scratch, ids));
      }
    }
  }
  if (options.add_special_tokens) {
    ids.insert(ids.end(), state.post_processor.suffix.begin(), state.post_processor.suffix.end());
  }
  return ids;
}

std::string Tokenizer::Decode(absl::Span<const int32_t> ids, bool skip_special_tokens) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (id < 0 || static_cast<size_t>(id) >= state_->tokens.size()) continue;
    const State::Token& token = state_->tokens[id];
    if (!(skip_special_tokens && token.special)) bytes += token.bytes;
  }
  return LossyUtf8(bytes);
}

}  // namespace temper
