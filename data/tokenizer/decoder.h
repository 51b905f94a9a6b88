// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/json.h"
#include "data/tokenizer/steps.h"

namespace temper {

class Tokenizer;

// The `decoder` of a tokenizer.json, from the contents of tokens to text: ByteLevel, ByteFallback, Replace,
// Strip, Metaspace and Fuse, in a row (Sequence). Immutable; a Decoding takes the tokens of one text.
class Decoder {
 public:
  static absl::StatusOr<Decoder> Parse(const JsonNode& node);
  Decoder();  // none: a space between tokens
  // The token is a byte that is decoded together with the bytes before it.
  bool JoinsPrevious(std::string_view token) const;

 private:
  friend class Decoding;
  enum class Kind { kJoin, kByteLevel, kByteFallback, kFuse, kReplace, kStrip, kMetaspace };
  struct Step {
    Kind kind = Kind::kFuse;
    std::string content;         // of Replace; the character of Strip and Metaspace
    TextPattern pattern;         // Replace
    size_t start = 0, stop = 0;  // Strip: at most so many characters
    bool drops_first = false;    // Metaspace: its character in the first token becomes nothing
    bool fused = false;          // one token comes, in parts
  };

  absl::Status Add(const JsonNode& node);
  static absl::StatusOr<Step> ParseStep(const JsonNode& node);
  bool fused() const { return !steps_.empty() && (steps_.back().fused || MakesOne(steps_.back().kind)); }
  static bool MakesOne(Kind kind) { return kind == Kind::kFuse || kind == Kind::kByteLevel; }

  std::vector<Step> steps_;
};

// The decoding of one text. What it gives out never changes with the tokens that follow; it holds back what
// they may still decide: the bytes of a broken character, a run of byte tokens, characters that may have to
// be stripped.
class Decoding {
 public:
  explicit Decoding(const Decoder& decoder);  // which outlives this
  // Appends the text that this token makes certain.
  void Add(std::string_view token, std::string& text) { Feed(0, token, true, text); }
  // Appends the rest. Nothing is added later.
  void Finish(std::string& text);

 private:
  // What a step keeps between tokens.
  struct State {
    std::string held;
    size_t tokens = 0;      // that came
    size_t strippable = 0;  // characters, if this token goes on with them
  };

  // A part of a token for a step; `begins`: the token starts with it.
  void Feed(size_t step, std::string_view part, bool begins, std::string& text);
  void FeedByteLevel(size_t step, std::string_view token, std::string& text);
  void FeedByteFallback(size_t step, std::string_view token, std::string& text);
  void FeedReplace(size_t step, std::string_view part, bool begins, std::string& text);
  void FeedStrip(size_t step, std::string_view part, bool begins, std::string& text);
  void FeedMetaspace(size_t step, std::string_view part, bool begins, std::string& text);
  void EndBytes(size_t step, std::string& text);

  const Decoder& decoder_;
  std::vector<State> states_;
};

// Text as its ids come. What it gives is whole characters that later ids do not change, and all of it
// together is Tokenizer::Decode of all ids. The bytes of an unfinished character wait for the next ids; where
// a vocabulary has tokens of single bytes (<0x0A>) a run of them waits for its end, since it is broken as a
// whole or not at all. One thread at a time.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = true);  // which outlives this
  // Appends what `id` makes certain.
  void Add(int32_t id, std::string& text);
  // Appends what was held back: no id comes any more.
  void Finish(std::string& text) { decoding_.Finish(text); }

 private:
  const Tokenizer& tokenizer_;
  const bool skip_special_tokens_;
  Decoding decoding_;
};

}  // namespace temper
