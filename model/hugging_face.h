// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/config.h"
#include "model/parameters.h"

namespace temper {

struct PolicyFiles {
  ModelConfig config;
  Parameters parameters;
};

// Reads config.json and the weights (model.safetensors, or model.safetensors.index.json with its shards) of a
// Hugging Face directory; BF16, F16 and F32 tensors become f32. Missing, extra or misshapen tensors, and
// weights that are not finite, are errors that name file and tensor. MTP layers (model.layers.N from
// num_hidden_layers on, as many as num_nextn_predict_layers says) are taken as they are in the files, or not
// at all. End tokens are generation_config.json's, where it names some.
absl::StatusOr<PolicyFiles> ReadPolicy(const std::string& directory);

// The config alone, with the end tokens as above.
absl::StatusOr<ModelConfig> ReadPolicyConfig(const std::string& directory);

// Writes config.json, model.safetensors (one file, f32) and generation_config.json, and copies the
// tokenizer's files (tokenizer.json, tokenizer_config.json, special_tokens_map.json, chat_template.jinja,
// where there) from `tokenizer_directory` ("": none). The caller owns atomicity: `directory` exists and is a
// temporary one.
absl::Status WritePolicy(const ModelConfig& config, const Parameters& parameters,
                         const std::string& tokenizer_directory, const std::string& directory);

// An error if the tokenizer has ids that the embedding has no row for. `tokenizer_size`: its largest id + 1.
// Rows that no token uses are common and fine.
absl::Status CheckVocabulary(const ModelConfig& config, int64_t tokenizer_size);

}  // namespace temper
