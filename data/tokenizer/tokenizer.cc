// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer/tokenizer.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "core/text.h"
#include "data/tokenizer/added.h"
#include "data/tokenizer/bpe.h"
#include "data/tokenizer/decoder.h"
#include "data/tokenizer/folder.h"
#include "data/tokenizer/json.h"
#include "data/tokenizer/normalizer.h"
#include "data/tokenizer/post_processor.h"
#include "data/tokenizer/pretokenizer.h"

namespace temper {
namespace {

constexpr size_t kTextLimit = size_t{1} << 28;  // ICU and Oniguruma count in ints, and NFKC makes text longer

}  // namespace

struct Tokenizer::State {
  std::vector<std::pair<std::string, std::string>> files;
  std::vector<int32_t> eos_ids;
  int64_t rows = std::numeric_limits<int64_t>::max();  // of the model's embedding
  std::vector<AddedToken> added;
  absl::flat_hash_map<std::string_view, const AddedToken*> added_by_content;
  AddedTokenMatcher raw_matcher, normalized_matcher;
  AddedTokenMatcher content_matcher;  // of the tokens of normalized_matcher, as they are written
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  PostProcessor post_processor;
  Decoder decoder;
  std::unique_ptr<Bpe> bpe;
  struct Token {
    std::string_view
        text;  // for the decoder; of `bpe`, `added` or `normalized_contents`; data() is null: none
    bool special = false;
  };
  std::vector<Token> tokens;  // by id
  std::deque<std::string> normalized_contents;

  absl::Status Parse(const JsonNode& root);
  absl::Status AddTokens(const JsonNode& node);
  absl::Status BuildMatchers();
  bool IsKnown(int64_t id) const {
    return id >= 0 && static_cast<size_t>(id) < tokens.size() && tokens[id].text.data() != nullptr;
  }
  std::vector<AddedTokenMatcher::Part> Split(const AddedTokenMatcher& matcher, bool added_tokens,
                                             std::string_view text,
                                             absl::Span<const std::string_view> plain = {}) const {
    if (added_tokens) return matcher.Split(text, plain);
    return {{text, -1}};
  }
  absl::Status EncodeRaw(std::string_view raw, bool at_start, bool added_tokens, Regex::Scratch& scratch,
                         std::vector<int32_t>& ids) const;
  absl::Status EncodePlain(std::string_view normalized, bool at_start, Regex::Scratch& scratch,
                           std::vector<int32_t>& ids) const;
  // Raw text of which `plain` are parts. Where its bytes are after normalization nobody knows, so the tokens
  // of normalized text are looked for as they are written.
  absl::Status EncodePartlyPlain(std::string_view raw, bool at_start,
                                 absl::Span<const std::string_view> plain, Regex::Scratch& scratch,
                                 std::vector<int32_t>& ids) const;
};

absl::Status Tokenizer::State::Parse(const JsonNode& root) {
  TEMPER_ASSIGN_OR_RETURN(const JsonNode model, root.Get("model"));
  TEMPER_ASSIGN_OR_RETURN(bpe, Bpe::Parse(model));
  if (const auto node = root.Find("normalizer"); node.has_value()) {
    TEMPER_ASSIGN_OR_RETURN(normalizer, Normalizer::Parse(*node));
  }
  if (const auto node = root.Find("pre_tokenizer"); node.has_value()) {
    TEMPER_ASSIGN_OR_RETURN(pre_tokenizer, PreTokenizer::Parse(*node));
  }
  if (const auto node = root.Find("decoder"); node.has_value()) {
    TEMPER_ASSIGN_OR_RETURN(decoder, Decoder::Parse(*node));
  }
  for (const std::string_view token : bpe->vocabulary().tokens()) tokens.push_back({token, false});
  if (const auto node = root.Find("added_tokens"); node.has_value()) TEMPER_RETURN_IF_ERROR(AddTokens(*node));
  TEMPER_RETURN_IF_ERROR(BuildMatchers());

  if (const auto node = root.Find("post_processor"); node.has_value()) {
    TEMPER_ASSIGN_OR_RETURN(post_processor, PostProcessor::Parse(*node));
    for (const auto* ids : {&post_processor.prefix, &post_processor.suffix}) {
      for (const int32_t id : *ids) {
        if (!IsKnown(id)) return node->Error(absl::StrCat("id ", id, " is not in the vocabulary"));
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
    const std::optional<int32_t> in_vocabulary = bpe->vocabulary().Id(token.content);
    if (id >= limit) return node.ElementError(i, absl::StrCat("id ", id, " is out of range"));
    if (in_vocabulary.has_value() && *in_vocabulary != token.id) {
      return node.ElementError(i, absl::StrCat("has id ", id, ", but ", Printable(token.content), " has id ",
                                               *in_vocabulary, " in model.vocab"));
    }
    if (!in_vocabulary.has_value() && IsKnown(token.id)) {
      return node.ElementError(i, absl::StrCat("id ", id, " is that of another token in model.vocab"));
    }
    if (id >= tokens.size()) tokens.resize(id + 1);
    tokens[id].text = token.content;
    added_by_content.emplace(token.content, &token);
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::State::BuildMatchers() {
  Regex::Scratch scratch(0);
  absl::flat_hash_set<std::string_view> special;
  for (const AddedToken& token : added) {
    if (token.special) special.insert(token.content);
  }
  for (const bool special_ones : {true, false}) {
    for (const AddedToken& token : added) {
      if (token.special != special_ones) continue;
      if (!token.normalized) {
        raw_matcher.Add(token.content, &token);
      } else {
        TEMPER_ASSIGN_OR_RETURN(Normalizer::Text content, normalizer.Normalize(token.content, scratch));
        tokens[token.id].text = normalized_contents.emplace_back(std::move(content.text));
        normalized_matcher.Add(tokens[token.id].text, &token);
        content_matcher.Add(token.content, &token);
      }
      // As the package has it: a special token that is normalized to something else is not left out of texts.
      tokens[token.id].special = special.contains(tokens[token.id].text);
    }
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::State::EncodeRaw(std::string_view raw, bool at_start, bool added_tokens,
                                         Regex::Scratch& scratch, std::vector<int32_t>& ids) const {
  Normalizer::Text normalized;
  if (!normalizer.empty()) {
    TEMPER_ASSIGN_OR_RETURN(normalized, normalizer.Normalize(raw, scratch));
    raw = normalized.text;
  }
  const char* const start = at_start && normalized.keeps_start ? raw.data() : nullptr;
  for (const AddedTokenMatcher::Part& part : Split(normalized_matcher, added_tokens, raw)) {
    if (part.id >= 0) {
      ids.push_back(part.id);
    } else {
      TEMPER_RETURN_IF_ERROR(EncodePlain(part.text, part.text.data() == start, scratch, ids));
    }
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::State::EncodePlain(std::string_view normalized, bool at_start,
                                           Regex::Scratch& scratch, std::vector<int32_t>& ids) const {
  TEMPER_ASSIGN_OR_RETURN(const PreTokenizer::Pieces pieces,
                          pre_tokenizer.Split(normalized, at_start, scratch));
  const std::string_view text = pieces.text;
  for (const Range& piece : pieces.ranges) {
    bpe->Encode(text.substr(piece.begin, piece.end - piece.begin), pre_tokenizer.pieces_are_bytes(), ids);
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::State::EncodePartlyPlain(std::string_view raw, bool at_start,
                                                 absl::Span<const std::string_view> plain,
                                                 Regex::Scratch& scratch, std::vector<int32_t>& ids) const {
  for (const AddedTokenMatcher::Part& part : content_matcher.Split(raw, plain)) {
    if (part.id >= 0) {
      ids.push_back(part.id);
    } else {
      const bool starts = at_start && part.text.data() == raw.data();
      TEMPER_RETURN_IF_ERROR(EncodeRaw(part.text, starts, false, scratch, ids));
    }
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

absl::Status Tokenizer::FitTo(int64_t rows, const std::string& folder) {
  const int64_t own = static_cast<int64_t>(state_->bpe->vocabulary().tokens().size());
  if (own > rows) {
    return absl::InvalidArgumentError(absl::StrCat(Printable(folder, 1000), "/tokenizer.json: has ids up to ",
                                                   own - 1, ", but the model's vocab_size is ", rows,
                                                   "; they do not belong together"));
  }
  state_->rows = rows;
  std::erase_if(state_->eos_ids, [&](int32_t id) { return id >= rows; });
  return absl::OkStatus();
}

int64_t Tokenizer::vocab_size() const { return static_cast<int64_t>(state_->tokens.size()); }
const std::vector<int32_t>& Tokenizer::eos_ids() const { return state_->eos_ids; }

void Tokenizer::AddEosIds(const std::vector<int32_t>& ids) {
  std::vector<int32_t>& all = state_->eos_ids;
  all.insert(all.end(), ids.begin(), ids.end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
}

const std::vector<std::pair<std::string, std::string>>& Tokenizer::files() const { return state_->files; }

bool Tokenizer::HasToken(int64_t id) const { return state_->IsKnown(id); }
bool Tokenizer::JoinsPrevious(int32_t id) const {
  return state_->IsKnown(id) && state_->decoder.JoinsPrevious(state_->tokens[id].text);
}
std::optional<std::string_view> Tokenizer::TokenText(int32_t id, bool skip_special_tokens) const {
  if (!state_->IsKnown(id) || (skip_special_tokens && state_->tokens[id].special)) return std::nullopt;
  return state_->tokens[id].text;
}
const Decoder& Tokenizer::decoder() const { return state_->decoder; }

std::optional<int32_t> Tokenizer::TokenId(std::string_view token) const {
  const auto added = state_->added_by_content.find(token);
  return added != state_->added_by_content.end() ? added->second->id : state_->bpe->vocabulary().Id(token);
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
  const State& state = *state_;
  Regex::Scratch scratch(text.size());
  std::vector<int32_t> ids;
  if (options.add_special_tokens) ids = state.post_processor.prefix;
  // Tokens of the raw text first, then those of each normalized remainder.
  absl::Span<const std::string_view> plain = options.plain;
  for (const AddedTokenMatcher::Part& part :
       state.Split(state.raw_matcher, options.added_tokens, text, options.plain)) {
    if (part.id >= 0) {
      ids.push_back(part.id);
      continue;
    }
    const char* const end = part.text.data() + part.text.size();
    while (!plain.empty() && plain[0].data() + plain[0].size() <= part.text.data()) plain.remove_prefix(1);
    const bool is_partly_plain = options.added_tokens && !plain.empty() && plain[0].data() < end;
    const bool at_start = part.text.data() == text.data();
    TEMPER_RETURN_IF_ERROR(is_partly_plain
                               ? state.EncodePartlyPlain(part.text, at_start, plain, scratch, ids)
                               : state.EncodeRaw(part.text, at_start, options.added_tokens, scratch, ids));
  }
  if (options.add_special_tokens) {
    ids.insert(ids.end(), state.post_processor.suffix.begin(), state.post_processor.suffix.end());
  }
  for (const int32_t id : ids) {
    if (id < state.rows) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("the text has ", Printable(std::string(state.tokens[id].text)), " (", id,
                     "), and the model's vocab_size is ", state.rows,
                     ": it knows no such token (model.resize_token_embeddings gives it one)"));
  }
  return ids;
}

std::string Tokenizer::Decode(absl::Span<const int32_t> ids, bool skip_special_tokens) const {
  StreamDecoder decoder(*this, skip_special_tokens);
  std::string text;
  for (const int32_t id : ids) decoder.Add(id, text);
  decoder.Finish(text);
  return text;
}

}  // namespace temper
