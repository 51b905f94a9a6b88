// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/json/json.h"
#include "data/dataset/dataset.h"
#include "data/tokenizer/tokenizer.h"
#include "data/trajectory.h"
#include "model/config/config.h"

namespace temper {

// The prompts of `sample`, and how each is called in the output.
struct SamplePrompts {
  std::vector<Prompt> prompts;
  std::vector<Json> ids;  // as the row has them
};

// Reads rows {"id","prompt" (text or messages) or "tokens" or "messages"} of a file or of standard input
// ("-"), and makes prompts of them as `form` says. A row without id is called by its line's number. Only rows
// of tokens do without a tokenizer (null). Errors name FILE:LINE: a row that is no such object, an id that is
// there twice (1 and "1" are the same), a prompt that with max_new_tokens does not fit the model.
absl::StatusOr<SamplePrompts> ReadSamplePrompts(const std::string& path, const PromptOptions& form,
                                                const Tokenizer* tokenizer, const ModelConfig& config,
                                                int64_t max_new_tokens);

}  // namespace temper
