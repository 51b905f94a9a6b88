// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer/decoder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/one_of.h"
#include "data/tokenizer/byte_level.h"
#include "data/tokenizer/tokenizer.h"
#include "data/tokenizer/unicode.h"
#include "simdjson.h"

namespace temper {
namespace {

constexpr char kReplacementCharacter[] = "\xEF\xBF\xBD";  // U+FFFD

// "<0x0A>"
std::optional<char> ByteOf(std::string_view token) {
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>') return std::nullopt;
  int byte = 0;
  for (const char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c - 'a' + 10;
    if (digit < 0 || digit > 15 || (c > '9' && digit < 10)) return std::nullopt;
    byte = byte * 16 + digit;
  }
  return static_cast<char>(byte);
}

}  // namespace

Decoder::Decoder() {
  Step join;
  join.kind = Kind::kJoin;
  steps_.push_back(std::move(join));
}

absl::StatusOr<Decoder> Decoder::Parse(const JsonNode& node) {
  Decoder decoder;
  decoder.steps_.clear();
  const auto add = [&](const JsonNode& step) { return decoder.Add(step); };
  TEMPER_RETURN_IF_ERROR(ForEachStep(node, "decoders", add));
  return decoder;
}

absl::Status Decoder::Add(const JsonNode& node) {
  TEMPER_ASSIGN_OR_RETURN(Step step, ParseStep(node));
  step.fused = fused();
  const std::string& literal = step.pattern.literal();
  const bool in_parts = IsOneOf(step.kind, {Kind::kFuse, Kind::kStrip, Kind::kMetaspace}) ||
                        (!literal.empty() && CharacterLength(literal) == literal.size());
  if (step.fused && !in_parts) {
    return node.Error(
        "is not supported after ByteLevel or Fuse; Strip, Metaspace and a Replace of one character are");
  }
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

absl::StatusOr<Decoder::Step> Decoder::ParseStep(const JsonNode& node) {
  TEMPER_ASSIGN_OR_RETURN(const std::string_view type, node.GetString("type"));
  Step step;
  if (type == "Fuse") {
    step.kind = Kind::kFuse;
  } else if (type == "ByteLevel") {
    step.kind = Kind::kByteLevel;
  } else if (type == "ByteFallback") {
    step.kind = Kind::kByteFallback;
  } else if (type == "Replace") {
    step.kind = Kind::kReplace;
    TEMPER_ASSIGN_OR_RETURN(const JsonNode pattern, node.Get("pattern"));
    TEMPER_ASSIGN_OR_RETURN(step.pattern, TextPattern::Parse(pattern));
    TEMPER_ASSIGN_OR_RETURN(step.content, node.GetString("content"));
  } else if (type == "Strip") {
    step.kind = Kind::kStrip;
    TEMPER_ASSIGN_OR_RETURN(step.content, node.GetCharacter("content"));
    TEMPER_ASSIGN_OR_RETURN(step.start, node.GetCount("start"));
    TEMPER_ASSIGN_OR_RETURN(step.stop, node.GetCount("stop"));
  } else if (type == "Metaspace") {
    step.kind = Kind::kMetaspace;
    TEMPER_ASSIGN_OR_RETURN(const Metaspace metaspace, Metaspace::Parse(node));
    step.content = metaspace.replacement;
    step.drops_first = metaspace.prepend != Metaspace::Prepend::kNever;
  } else {
    return node.UnknownType(type, "ByteLevel, ByteFallback, Fuse, Metaspace, Replace, Strip and Sequence");
  }
  return step;
}

bool Decoder::JoinsPrevious(std::string_view token) const {
  const auto is_fallback = [](const Step& step) { return step.kind == Kind::kByteFallback; };
  return ByteOf(token).has_value() && std::ranges::any_of(steps_, is_fallback);
}

Decoding::Decoding(const Decoder& decoder) : decoder_(decoder), states_(decoder.steps_.size()) {}

void Decoding::Feed(size_t step, std::string_view part, bool begins, std::string& text) {
  if (step == states_.size()) {
    text += part;
    return;
  }
  states_[step].tokens += begins ? 1 : 0;
  switch (decoder_.steps_[step].kind) {
    case Decoder::Kind::kJoin:
      if (states_[step].tokens > 1) text += ' ';
      Feed(step + 1, part, begins, text);
      break;
    case Decoder::Kind::kFuse:
      Feed(step + 1, part, states_[step].tokens == 1 && begins, text);
      break;
    case Decoder::Kind::kByteLevel:
      FeedByteLevel(step, part, text);
      break;
    case Decoder::Kind::kByteFallback:
      FeedByteFallback(step, part, text);
      break;
    case Decoder::Kind::kReplace:
      FeedReplace(step, part, begins, text);
      break;
    case Decoder::Kind::kStrip:
      FeedStrip(step, part, begins, text);
      break;
    case Decoder::Kind::kMetaspace:
      FeedMetaspace(step, part, begins, text);
      break;
  }
}

void Decoding::FeedByteLevel(size_t step, std::string_view token, std::string& text) {
  State& state = states_[step];
  if (!AppendFromByteLevel(token, state.held)) state.held += token;
  const size_t sure = state.held.size() - UnfinishedUtf8(state.held);
  Feed(step + 1, LossyUtf8(std::string_view(state.held).substr(0, sure)), state.tokens == 1, text);
  state.held.erase(0, sure);
}

void Decoding::FeedByteFallback(size_t step, std::string_view token, std::string& text) {
  if (const std::optional<char> byte = ByteOf(token); byte.has_value()) {
    states_[step].held += *byte;
    return;
  }
  EndBytes(step, text);
  Feed(step + 1, token, true, text);
}

// A run of bytes is UTF-8 as a whole, or each of them is broken.
void Decoding::EndBytes(size_t step, std::string& text) {
  const std::string bytes = std::exchange(states_[step].held, "");
  if (bytes.empty()) return;
  if (simdjson::validate_utf8(bytes)) return Feed(step + 1, bytes, true, text);
  for (size_t i = 0; i < bytes.size(); ++i) Feed(step + 1, kReplacementCharacter, true, text);
}

void Decoding::FeedReplace(size_t step, std::string_view part, bool begins, std::string& text) {
  const Decoder::Step& replace = decoder_.steps_[step];
  std::vector<Range> matches;
  if (!replace.pattern.literal().empty()) {
    FindLiteral(part, replace.pattern.literal(), matches);
  } else if (Regex::Scratch scratch(part.size()); !replace.pattern.FindAll(part, scratch, matches).ok()) {
    matches.clear();  // an expression that fails on a token of its file leaves it as it is
  }
  if (matches.empty()) return Feed(step + 1, part, begins, text);
  Feed(step + 1, Replaced(part, matches, replace.content), begins, text);
}

void Decoding::FeedStrip(size_t step, std::string_view part, bool begins, std::string& text) {
  const Decoder::Step& strip = decoder_.steps_[step];
  State& state = states_[step];
  const size_t size = strip.content.size();
  if (begins) {
    state.held.clear();  // the end of the token before
    state.strippable = strip.start;
  }
  while (state.strippable > 0 && part.substr(0, size) == strip.content) {
    part.remove_prefix(size);
    --state.strippable;
  }
  if (!part.empty()) state.strippable = 0;
  std::string whole = std::exchange(state.held, "").append(part);
  size_t end = whole.size();
  for (size_t i = 0; i < strip.stop && end >= size && whole.compare(end - size, size, strip.content) == 0;
       ++i) {
    end -= size;
  }
  if (strip.fused) state.held = whole.substr(end);
  whole.resize(end);
  Feed(step + 1, whole, begins, text);
}

void Decoding::FeedMetaspace(size_t step, std::string_view part, bool begins, std::string& text) {
  const Decoder::Step& metaspace = decoder_.steps_[step];
  std::vector<Range> matches;
  FindLiteral(part, metaspace.content, matches);
  const bool drop = metaspace.drops_first && states_[step].tokens == 1;
  Feed(step + 1, Replaced(part, matches, drop ? "" : " "), begins, text);
}

void Decoding::Finish(std::string& text) {
  for (size_t step = 0; step < states_.size(); ++step) {
    if (decoder_.steps_[step].kind == Decoder::Kind::kByteFallback) EndBytes(step, text);
    if (decoder_.steps_[step].kind != Decoder::Kind::kByteLevel) continue;
    Feed(step + 1, LossyUtf8(std::exchange(states_[step].held, "")), false, text);
  }
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : tokenizer_(tokenizer), skip_special_tokens_(skip_special_tokens), decoding_(tokenizer.decoder()) {}

void StreamDecoder::Add(int32_t id, std::string& text) {
  const auto token = tokenizer_.TokenText(id, skip_special_tokens_);
  if (token.has_value()) decoding_.Add(*token, text);
}

}  // namespace temper
