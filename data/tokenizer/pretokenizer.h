// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/json.h"
#include "data/tokenizer/steps.h"
#include "unicode/umachine.h"

namespace temper {

// The `pre_tokenizer` of a tokenizer.json: cuts text into the pieces that BPE never merges across. Split,
// Digits, Punctuation, Whitespace, WhitespaceSplit, BertPreTokenizer, Metaspace and ByteLevel, in a row
// (Sequence).
class PreTokenizer {
 public:
  // A text and its pieces; a step may rewrite the text (a space in front, bytes to their characters).
  struct Pieces {
    std::string text;
    std::vector<Range> ranges;
    bool at_start;  // the first piece is at the start of the whole text that is encoded
  };

  static absl::StatusOr<PreTokenizer> Parse(const JsonNode& node);
  // None is empty.
  absl::StatusOr<Pieces> Split(std::string_view text, bool at_start, Regex::Scratch& scratch) const;
  // ByteLevel is the last step: pieces are bytes, and BPE maps them. Else the pieces are made of the
  // vocabulary's characters already.
  bool pieces_are_bytes() const { return pieces_are_bytes_; }

 private:
  enum class Action { kSplit, kPrefixSpace, kByteLevel, kMetaspace };
  using IsMatch = bool (*)(UChar32);
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  struct Step {
    Action action = Action::kSplit;
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;
    IsMatch is_match = nullptr;  // each such character is a match; null: the pattern says
    TextPattern pattern = {};
    Metaspace metaspace = {};
  };
  struct Match {
    Range range;
    bool is_match;
  };

  static absl::StatusOr<Behavior> ParseBehavior(const JsonNode& node);
  absl::Status Add(const JsonNode& node);
  void AddCharacterSplit(IsMatch is_match, Behavior behavior);
  absl::Status AddSplit(const JsonNode& node);
  absl::Status AddByteLevel(const JsonNode& node);
  static void Cover(size_t size, const std::vector<Range>& found, bool invert, std::vector<Match>& matches);
  static void Join(std::vector<Match>& matches, Behavior behavior, size_t offset, std::vector<Range>& parts);
  static absl::Status ApplySplit(const Step& step, Pieces& pieces, Regex::Scratch& scratch);
  static void ApplyMetaspace(const Metaspace& metaspace, Pieces& pieces);
  static void ApplyPrefixSpace(Pieces& pieces);
  static void ApplyByteLevel(Pieces& pieces);

  std::vector<Step> steps_;
  bool pieces_are_bytes_ = false;
};

}  // namespace temper
