// SPDX-License-Identifier: Apache-2.0
#include "data/pretokenizer.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "core/text.h"
#include "data/byte_level.h"
#include "unicode/uchar.h"
#include "unicode/utf8.h"

namespace temper {
namespace {

// GPT-2's expression, which ByteLevel with use_regex stands for.
constexpr char kGpt2[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::string Escaped(std::string_view literal) {
  std::string pattern;
  for (const char c : literal) {
    if (std::string_view("\\.+*?()|[]{}^$#&-~").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

void FindNumerals(std::string_view text, std::vector<Range>& matches) {
  const int32_t size = static_cast<int32_t>(text.size());
  for (int32_t at = 0; at < size;) {
    const int32_t begin = at;
    UChar32 c = 0;
    U8_NEXT(text.data(), at, size, c);
    if (c >= 0 && (U_GET_GC_MASK(c) & U_GC_N_MASK) != 0) {
      matches.push_back({static_cast<size_t>(begin), static_cast<size_t>(at)});
    }
  }
}

}  // namespace

absl::StatusOr<PreTokenizer> PreTokenizer::Parse(const JsonNode& node) {
  PreTokenizer pre_tokenizer;
  TEMPER_RETURN_IF_ERROR(pre_tokenizer.Add(node));
  const auto& steps = pre_tokenizer.steps_;
  const auto is_byte_level = [](const Step& step) { return step.action == Action::kByteLevel; };
  if (std::count_if(steps.begin(), steps.end(), is_byte_level) != 1) {
    return node.Error("has not one ByteLevel; only byte-level BPE is supported (SentencePiece style is not)");
  }
  pre_tokenizer.pieces_are_bytes_ = is_byte_level(steps.back());
  if (pre_tokenizer.pieces_are_bytes_) pre_tokenizer.steps_.pop_back();
  return pre_tokenizer;
}

absl::Status PreTokenizer::Add(const JsonNode& node) {
  TEMPER_ASSIGN_OR_RETURN(const std::string_view type, node.GetString("type"));
  if (type == "Split") return AddSplit(node);
  if (type == "ByteLevel") return AddByteLevel(node);
  if (type == "Digits") {
    TEMPER_ASSIGN_OR_RETURN(const bool individual, node.GetBool("individual_digits", false));
    steps_.push_back(
        {Action::kSplit, nullptr, individual ? Behavior::kIsolated : Behavior::kContiguous, false});
    return absl::OkStatus();
  }
  if (type == "Sequence") {
    TEMPER_ASSIGN_OR_RETURN(const std::vector<JsonNode> nodes, node.GetElements("pretokenizers"));
    for (const JsonNode& each : nodes) TEMPER_RETURN_IF_ERROR(Add(each));
    return absl::OkStatus();
  }
  return node.Error(absl::StrCat("type ", Printable(type),
                                 " is not supported; Split, Digits, ByteLevel and Sequence are",
                                 type == "Metaspace" ? " (this is SentencePiece style)" : ""));
}

absl::Status PreTokenizer::AddSplit(const JsonNode& node) {
  Step step;
  TEMPER_ASSIGN_OR_RETURN(const JsonNode pattern, node.Get("pattern"));
  const std::optional<JsonNode> regex = pattern.Find("Regex"), literal = pattern.Find("String");
  if (regex.has_value() == literal.has_value()) return pattern.Error("expected one of Regex and String");
  TEMPER_ASSIGN_OR_RETURN(const std::string_view text, (regex.has_value() ? regex : literal)->String());
  TEMPER_ASSIGN_OR_RETURN(
      step.regex, Regex::Compile(regex.has_value() ? std::string(text) : Escaped(text), pattern.where()));
  TEMPER_ASSIGN_OR_RETURN(step.invert, node.GetBool("invert", false));
  TEMPER_ASSIGN_OR_RETURN(const std::string_view behavior, node.GetString("behavior"));
  constexpr std::string_view kNames[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext",
                                         "Contiguous"};
  const auto name = std::find(std::begin(kNames), std::end(kNames), behavior);
  if (name == std::end(kNames)) {
    return node.MemberError("behavior", absl::StrCat("unknown behavior ", Printable(behavior)));
  }
  step.behavior = static_cast<Behavior>(name - std::begin(kNames));
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

absl::Status PreTokenizer::AddByteLevel(const JsonNode& node) {
  TEMPER_ASSIGN_OR_RETURN(const bool add_prefix_space, node.GetBool("add_prefix_space", true));
  TEMPER_ASSIGN_OR_RETURN(const bool use_regex, node.GetBool("use_regex", true));
  if (add_prefix_space) steps_.push_back({Action::kPrefixSpace, nullptr, Behavior::kIsolated, false});
  if (use_regex) {
    TEMPER_ASSIGN_OR_RETURN(auto regex, Regex::Compile(kGpt2, node.where()));
    steps_.push_back({Action::kSplit, std::move(regex), Behavior::kIsolated, false});
  }
  steps_.push_back({Action::kByteLevel, nullptr, Behavior::kIsolated, false});
  return absl::OkStatus();
}

absl::StatusOr<PreTokenizer::Pieces> PreTokenizer::Split(std::string_view text,
                                                         Regex::Scratch& scratch) const {
  Pieces pieces{std::string(text), {}};
  if (!text.empty()) pieces.ranges.push_back({0, text.size()});
  for (const Step& step : steps_) {
    switch (step.action) {
      case Action::kSplit:
        TEMPER_RETURN_IF_ERROR(ApplySplit(step, pieces, scratch));
        break;
      case Action::kPrefixSpace:
        ApplyPrefixSpace(pieces);
        break;
      case Action::kByteLevel:
        ApplyByteLevel(pieces);
        break;
    }
  }
  return pieces;
}

absl::Status PreTokenizer::ApplySplit(const Step& step, Pieces& pieces, Regex::Scratch& scratch) {
  std::vector<Range> found, parts;
  std::vector<Match> matches;
  parts.reserve(pieces.ranges.size());
  for (const Range& piece : pieces.ranges) {
    const auto text = std::string_view(pieces.text).substr(piece.begin, piece.end - piece.begin);
    found.clear();
    if (step.regex != nullptr) {
      TEMPER_RETURN_IF_ERROR(step.regex->FindAll(text, scratch, found));
    } else {
      FindNumerals(text, found);
    }
    Cover(text.size(), found, step.invert, matches);
    Join(matches, step.behavior, piece.begin, parts);
  }
  pieces.ranges = std::move(parts);
  return absl::OkStatus();
}

// The matches and what is between them.
void PreTokenizer::Cover(size_t size, const std::vector<Range>& found, bool invert,
                         std::vector<Match>& matches) {
  matches.clear();
  size_t at = 0;
  for (const Range& range : found) {
    if (at != range.begin) matches.push_back({{at, range.begin}, invert});
    matches.push_back({range, !invert});
    at = range.end;
  }
  if (at != size) matches.push_back({{at, size}, invert});
}

void PreTokenizer::Join(std::vector<Match>& matches, Behavior behavior, size_t offset,
                        std::vector<Range>& parts) {
  const bool backwards = behavior == Behavior::kMergedWithNext;
  if (backwards) std::reverse(matches.begin(), matches.end());
  const size_t first = parts.size();
  bool previous = false;
  for (const auto& [range, is_match] : matches) {
    bool join = false;
    if (behavior == Behavior::kContiguous) join = is_match == previous;
    if (behavior == Behavior::kMergedWithPrevious || backwards) join = is_match && !previous;
    previous = is_match;
    if (behavior == Behavior::kRemoved && is_match) continue;
    if (join && parts.size() > first) {
      (backwards ? parts.back().begin : parts.back().end) = offset + (backwards ? range.begin : range.end);
    } else {
      parts.push_back({offset + range.begin, offset + range.end});
    }
  }
  if (backwards) std::reverse(parts.begin() + first, parts.end());
  const auto is_empty = [](const Range& part) { return part.begin == part.end; };
  parts.erase(std::remove_if(parts.begin() + first, parts.end(), is_empty), parts.end());
}

void PreTokenizer::ApplyPrefixSpace(Pieces& pieces) {
  Pieces out;
  for (const Range& piece : pieces.ranges) {
    const size_t begin = out.text.size();
    if (pieces.text[piece.begin] != ' ') out.text += ' ';
    out.text.append(pieces.text, piece.begin, piece.end - piece.begin);
    out.ranges.push_back({begin, out.text.size()});
  }
  pieces = std::move(out);
}

void PreTokenizer::ApplyByteLevel(Pieces& pieces) {
  Pieces out;
  for (const Range& piece : pieces.ranges) {
    const size_t begin = out.text.size();
    out.text += ToByteLevel(std::string_view(pieces.text).substr(piece.begin, piece.end - piece.begin));
    out.ranges.push_back({begin, out.text.size()});
  }
  pieces = std::move(out);
}

}  // namespace temper
