// SPDX-License-Identifier: Apache-2.0
// Small random policies on disk.
#pragma once

#include <string>

#include "model/files/hugging_face.h"
#include "tests/cli/program.h"
#include "tests/model/configs.h"

namespace temper {

// Writes a random policy of the config into the folder; with a tokenizer's folder ("" for none) its files
// too. Logits are spread out, so that draws differ.
inline std::string WriteModel(const Folder& folder, const Json& json, const std::string& tokenizer = "") {
  const ModelConfig config = Parsed(json);
  const Parameters parameters =
      InitializeParameters(config, 5, {.embedding_std = 1.0f, .linear_gain = 1.0f, .head_gain = 2.0f});
  EXPECT_TRUE(WritePolicy(config, parameters, tokenizer, folder.path()).ok());
  return folder.path();
}

constexpr char kTinyTokenizer[] = "configs/tiny/base";

// Big enough for the tiny tokenizer.
inline Json WithWords(Json json) { return With(std::move(json), "vocab_size", 400); }

}  // namespace temper
