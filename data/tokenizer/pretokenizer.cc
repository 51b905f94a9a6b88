// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer/pretokenizer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/text.h"
#include "data/tokenizer/byte_level.h"
#include "data/tokenizer/unicode.h"

namespace temper {
namespace {

// GPT-2's expression, which ByteLevel with use_regex stands for.
constexpr char kGpt2[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

void FindCharacters(std::string_view text, bool (*is_match)(UChar32), std::vector<Range>& matches) {
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (is_match(NextCharacter(text, at))) matches.push_back({begin, at});
  }
}

bool IsNeitherWordNorSpace(UChar32 c) { return !IsWord(c) && !IsSpace(c); }

}  // namespace

absl::StatusOr<PreTokenizer> PreTokenizer::Parse(const JsonNode& node) {
  PreTokenizer pre_tokenizer;
  const auto add = [&](const JsonNode& step) { return pre_tokenizer.Add(step); };
  TEMPER_RETURN_IF_ERROR(ForEachStep(node, "pretokenizers", add));
  auto& steps = pre_tokenizer.steps_;
  pre_tokenizer.pieces_are_bytes_ = !steps.empty() && steps.back().action == Action::kByteLevel;
  if (pre_tokenizer.pieces_are_bytes_) steps.pop_back();
  return pre_tokenizer;
}

absl::Status PreTokenizer::Add(const JsonNode& node) {
  TEMPER_ASSIGN_OR_RETURN(const std::string_view type, node.GetString("type"));
  if (type == "Split") return AddSplit(node);
  if (type == "ByteLevel") return AddByteLevel(node);
  if (type == "Metaspace") {
    TEMPER_ASSIGN_OR_RETURN(Metaspace metaspace, Metaspace::Parse(node));
    steps_.push_back({.action = Action::kMetaspace, .metaspace = std::move(metaspace)});
  } else if (type == "Digits") {
    TEMPER_ASSIGN_OR_RETURN(const bool individual, node.GetBool("individual_digits"));
    AddCharacterSplit(IsNumeral, individual ? Behavior::kIsolated : Behavior::kContiguous);
  } else if (type == "Punctuation") {
    Behavior behavior = Behavior::kIsolated;
    if (node.Find("behavior").has_value()) {
      TEMPER_ASSIGN_OR_RETURN(behavior, ParseBehavior(node));
    }
    AddCharacterSplit(IsPunctuation, behavior);
  } else if (type == "WhitespaceSplit") {
    AddCharacterSplit(IsSpace, Behavior::kRemoved);
  } else if (type == "Whitespace") {  // \w+|[^\w\s]+
    AddCharacterSplit(IsSpace, Behavior::kRemoved);
    AddCharacterSplit(IsNeitherWordNorSpace, Behavior::kContiguous);
  } else if (type == "BertPreTokenizer") {
    AddCharacterSplit(IsSpace, Behavior::kRemoved);
    AddCharacterSplit(IsPunctuation, Behavior::kIsolated);
  } else {
    return node.UnknownType(
        type,
        "Split, Digits, Punctuation, Whitespace, WhitespaceSplit, BertPreTokenizer, Metaspace, "
        "ByteLevel and Sequence");
  }
  return absl::OkStatus();
}

void PreTokenizer::AddCharacterSplit(IsMatch is_match, Behavior behavior) {
  steps_.push_back({.action = Action::kSplit, .behavior = behavior, .is_match = is_match});
}

absl::StatusOr<PreTokenizer::Behavior> PreTokenizer::ParseBehavior(const JsonNode& node) {
  TEMPER_ASSIGN_OR_RETURN(const std::string_view behavior, node.GetString("behavior"));
  constexpr std::string_view kNames[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext",
                                         "Contiguous"};
  const auto name = std::ranges::find(kNames, behavior);
  if (name == std::end(kNames)) {
    return node.MemberError("behavior", absl::StrCat("unknown behavior ", Printable(behavior)));
  }
  return static_cast<Behavior>(name - std::begin(kNames));
}

absl::Status PreTokenizer::AddSplit(const JsonNode& node) {
  Step step;
  TEMPER_ASSIGN_OR_RETURN(const JsonNode pattern, node.Get("pattern"));
  TEMPER_ASSIGN_OR_RETURN(step.pattern, TextPattern::Parse(pattern));
  TEMPER_ASSIGN_OR_RETURN(step.invert, node.GetBool("invert", false));
  TEMPER_ASSIGN_OR_RETURN(step.behavior, ParseBehavior(node));
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

absl::Status PreTokenizer::AddByteLevel(const JsonNode& node) {
  TEMPER_ASSIGN_OR_RETURN(const bool add_prefix_space, node.GetBool("add_prefix_space", true));
  TEMPER_ASSIGN_OR_RETURN(const bool use_regex, node.GetBool("use_regex", true));
  if (add_prefix_space) steps_.push_back({.action = Action::kPrefixSpace});
  if (use_regex) {
    TEMPER_ASSIGN_OR_RETURN(TextPattern pattern, TextPattern::FromRegex(kGpt2, node.where()));
    steps_.push_back({.action = Action::kSplit, .pattern = std::move(pattern)});
  }
  steps_.push_back({.action = Action::kByteLevel});
  return absl::OkStatus();
}

absl::StatusOr<PreTokenizer::Pieces> PreTokenizer::Split(std::string_view text, bool at_start,
                                                         Regex::Scratch& scratch) const {
  Pieces pieces{std::string(text), {}, at_start};
  if (!text.empty()) pieces.ranges.push_back({0, text.size()});
  for (const Step& step : steps_) {
    switch (step.action) {
      case Action::kSplit:
        TEMPER_RETURN_IF_ERROR(ApplySplit(step, pieces, scratch));
        break;
      case Action::kMetaspace:
        ApplyMetaspace(step.metaspace, pieces);
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
    if (step.is_match != nullptr) {
      FindCharacters(text, step.is_match, found);
    } else {
      TEMPER_RETURN_IF_ERROR(step.pattern.FindAll(text, scratch, found));
    }
    Cover(text.size(), found, step.invert, matches);
    Join(matches, step.behavior, piece.begin, parts);
  }
  pieces.ranges = std::move(parts);
  pieces.at_start = pieces.at_start && !pieces.ranges.empty() && pieces.ranges[0].begin == 0;
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
  if (backwards) std::ranges::reverse(matches);
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

void PreTokenizer::ApplyMetaspace(const Metaspace& metaspace, Pieces& pieces) {
  const std::string_view sign = metaspace.replacement;
  Pieces out{{}, {}, pieces.at_start};
  std::vector<Range> found;
  std::vector<Match> matches;
  for (size_t i = 0; i < pieces.ranges.size(); ++i) {
    const Range& piece = pieces.ranges[i];
    const auto text = std::string_view(pieces.text).substr(piece.begin, piece.end - piece.begin);
    const size_t begin = out.text.size();
    const bool prepend = metaspace.prepend == Metaspace::Prepend::kAlways ||
                         (metaspace.prepend == Metaspace::Prepend::kFirst && i == 0 && pieces.at_start);
    if (prepend && text[0] != ' ' && !text.starts_with(sign)) out.text += sign;
    found.clear();
    FindLiteral(text, " ", found);
    out.text += Replaced(text, found, sign);
    if (!metaspace.split) {
      out.ranges.push_back({begin, out.text.size()});
      continue;
    }
    found.clear();
    FindLiteral(std::string_view(out.text).substr(begin), sign, found);
    Cover(out.text.size() - begin, found, false, matches);
    Join(matches, Behavior::kMergedWithNext, begin, out.ranges);
  }
  pieces = std::move(out);
}

void PreTokenizer::ApplyPrefixSpace(Pieces& pieces) {
  Pieces out{{}, {}, pieces.at_start};
  for (const Range& piece : pieces.ranges) {
    const size_t begin = out.text.size();
    if (pieces.text[piece.begin] != ' ') out.text += ' ';
    out.text.append(pieces.text, piece.begin, piece.end - piece.begin);
    out.ranges.push_back({begin, out.text.size()});
  }
  pieces = std::move(out);
}

void PreTokenizer::ApplyByteLevel(Pieces& pieces) {
  Pieces out{{}, {}, pieces.at_start};
  for (const Range& piece : pieces.ranges) {
    const size_t begin = out.text.size();
    out.text += ToByteLevel(std::string_view(pieces.text).substr(piece.begin, piece.end - piece.begin));
    out.ranges.push_back({begin, out.text.size()});
  }
  pieces = std::move(out);
}

}  // namespace temper
