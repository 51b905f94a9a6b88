// SPDX-License-Identifier: Apache-2.0
#include "data/stream_decoder.h"

namespace temper {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : tokenizer_(tokenizer), skip_special_tokens_(skip_special_tokens), decoding_(tokenizer.decoder()) {}

void StreamDecoder::Add(int32_t id, std::string& text) {
  const auto token = tokenizer_.TokenText(id, skip_special_tokens_);
  if (token.has_value()) decoding_.Add(*token, text);
}

}  // namespace temper
