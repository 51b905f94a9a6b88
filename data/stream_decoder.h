// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "data/tokenizer.h"
#include "data/tokenizer_decoder.h"

namespace temper {

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
