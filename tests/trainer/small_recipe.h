// SPDX-License-Identifier: Apache-2.0
// A recipe with every kind of stage and a policy so small that all of it takes about a second.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "core/files/file.h"
#include "gtest/gtest.h"
#include "tests/core/test_folder.h"
#include "tests/model/configs.h"
#include "trainer/recipe.h"

namespace temper {

// config.json of a small policy beside the tokenizer of configs/tiny/base.
inline void WriteSmallModel(const std::string& directory) {
  std::filesystem::create_directories(directory);
  Json json = TinyDeepseek();
  json.update(Json::parse(R"({"vocab_size": 357, "hidden_size": 24, "num_nextn_predict_layers": 1,
                              "bos_token_id": 1, "eos_token_id": 2})"));
  ASSERT_TRUE(WriteFileAtomic(directory + "/config.json", json.dump()).ok());
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"})
    std::filesystem::copy_file(std::string("configs/tiny/base/") + name, directory + "/" + name);
}

inline std::string SmallRecipeText(const std::string& model) {
  return R"(
seed: 7
threads: 1
evaluation:
  problems: 4
  samples_per_prompt: 2
  hard_problems: 2
  hard_samples_per_prompt: 2
  during_every: 2
  during_problems: 2
  sampling: {max_new_tokens: 16}
  held_out: {generator: tiny}
  hard: {generator: tiny}
rl:
  steps: 4
  prompts_per_step: 3
  samples_per_prompt: 3
  gradient_leaves: 4
  checkpoint_every: 1
  tokens_per_microbatch: 64
  sampling: {max_new_tokens: 16, temperature: 0.9}
  problems: {generator: tiny}
  reward:
    rules: [{rule: format, weight: 0.5}, {rule: language, min_words: 1}, {rule: repetition, ngram: 1}]
  kl_coef: 0.02
  reference_refresh_steps: 2
  skip_groups_without_spread: false
  optimizer: {learning_rate: 0.003}
stages:
  base:
    kind: pretrain
    pretrain:
      init: {directory: )" +
         model + R"(, embedding_std: 0.5}
      documents: [{kind: corpus, count: 46}]
      prompts_per_step: 8
      gradient_leaves: 4
      checkpoint_every: 2
      optimizer: {learning_rate: 0.03, schedule: cosine, warmup_steps: 2}
  zero:
    kind: rl
    from: base
    rl: {updates_per_rollout: 2}
  cold_start:
    kind: sft
    from: base
    sft:
      documents: [{kind: cold_start, count: 8}, {kind: general, count: 3}]
      prompts_per_step: 4
      gradient_leaves: 4
      checkpoint_every: 1
  collect:
    kind: collect
    from: zero
    collect:
      prompts: 24
      samples_per_prompt: 4
      min_reward: 0.0
      sampling: {max_new_tokens: 24, temperature: 1.0}
      reward: {rules: [{rule: accuracy, requires: format}, {rule: format, weight: 0.1}]}
  sft:
    kind: sft
    from: base
    sft:
      documents: [{kind: collect, stage: collect}]
      prompts_per_step: 4
      epochs: 2
      gradient_leaves: 4
      checkpoint_every: 3
  reason:
    kind: rl
    from: sft
    rl: {steps: 3, prompts_per_step: 8, updates_per_rollout: 3, sampling: {max_new_tokens: 24}, truncated: masked, shuffle_rewards: true, reference_refresh_steps: 0, kl_coef: 0, skip_groups_without_spread: true, checkpoint_every: 2}
  final:
    kind: eval
    from: reason
)";
}

inline RecipeConfig SmallRecipe(const std::string& model, const std::vector<std::string>& overrides = {}) {
  RecipeConfig recipe;
  const absl::Status status = ReadConfig(SmallRecipeText(model), "small.yaml", overrides, recipe);
  EXPECT_TRUE(status.ok()) << status;
  return recipe;
}

// A stop that is never asked for.
inline bool Never() { return false; }

inline std::string Digest(const std::string& directory) {
  const absl::StatusOr<std::string> digest = RunDigest(directory);
  EXPECT_TRUE(digest.ok()) << digest.status();
  return digest.value_or("");
}

}  // namespace temper
