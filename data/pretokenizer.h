// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/pretokenizer_regex.h"
#include "data/tokenizer_json.h"

namespace temper {

// Cuts text into the pieces that BPE never merges across: Split, Digits and ByteLevel, in a row (Sequence).
class PreTokenizer {
 public:
  // A text and its pieces; a step may rewrite the text (a space in front, bytes to their characters).
  struct Pieces {
    std::string text;
    std::vector<Range> ranges;
  };

  static absl::StatusOr<PreTokenizer> Parse(const JsonNode& node);
  // None is empty.
  absl::StatusOr<Pieces> Split(std::string_view text, Regex::Scratch& scratch) const;
  // ByteLevel is the last step: pieces are bytes, and BPE maps them. Else the pieces are in the byte alphabet
  // already.
  bool pieces_are_bytes() const { return pieces_are_bytes_; }

 private:
  enum class Action { kSplit, kPrefixSpace, kByteLevel };
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  struct Step {
    Action action = Action::kSplit;
    std::unique_ptr<Regex> regex;  // null: numerals (Unicode's Nd, Nl, No), a match each
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;
  };
  struct Match {
    Range range;
    bool is_match;
  };

  absl::Status Add(const JsonNode& node);
  absl::Status AddSplit(const JsonNode& node);
  absl::Status AddByteLevel(const JsonNode& node);
  static void Cover(size_t size, const std::vector<Range>& found, bool invert, std::vector<Match>& matches);
  static void Join(std::vector<Match>& matches, Behavior behavior, size_t offset, std::vector<Range>& parts);
  static absl::Status ApplySplit(const Step& step, Pieces& pieces, Regex::Scratch& scratch);
  static void ApplyPrefixSpace(Pieces& pieces);
  static void ApplyByteLevel(Pieces& pieces);

  std::vector<Step> steps_;
  bool pieces_are_bytes_ = false;
};

}  // namespace temper
