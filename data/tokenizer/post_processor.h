// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "data/tokenizer/json.h"

namespace temper {

// What the `post_processor` of a tokenizer.json puts around a text: TemplateProcessing's `single`, the cls
// and sep of BertProcessing and RobertaProcessing (one of them, also in a Sequence); ByteLevel puts nothing.
struct PostProcessor {
  std::vector<int32_t> prefix, suffix;
  static absl::StatusOr<PostProcessor> Parse(const JsonNode& node);
};

}  // namespace temper
