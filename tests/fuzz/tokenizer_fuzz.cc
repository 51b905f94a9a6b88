// SPDX-License-Identifier: Apache-2.0
// Line 1 is a text, the rest a tokenizer.json, which then encodes the text and decodes any ids.
#include "data/tokenizer/decoder.h"
#include "data/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz.h"

FUZZ(bytes) {
  using namespace temper;
  const auto [text, json] = FirstLine(bytes);
  const InputFile file(json);
  const auto tokenizer = Tokenizer::Load(file.path());
  if (!tokenizer.ok()) return;
  Tokenizer::EncodeOptions plain;
  plain.added_tokens = plain.add_special_tokens = false;
  for (const auto& options : {Tokenizer::EncodeOptions(), plain}) {
    const auto ids = (*tokenizer)->Encode(text, options);
    if (!ids.ok()) continue;
    for (const int32_t id : *ids) TEMPER_CHECK((*tokenizer)->HasToken(id), std::to_string(id));
    (*tokenizer)->Decode(*ids);
  }
  const std::vector<int32_t> ids(text.begin(), text.end());  // some of them negative
  (*tokenizer)->Decode(ids, false);
}
