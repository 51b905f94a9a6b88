// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "core/config/config.h"
#include "rewards/rules.h"
#include "trainer/config/problems.h"

namespace temper {

struct CollectConfig {
  int64_t prompts = 1024;
  int64_t samples_per_prompt = 4;
  int64_t keep_per_prompt = 2;
  SamplingConfig sampling;
  ProblemsConfig problems;
  RewardConfig reward;
  double min_reward = 1.0;

  template <class V>
  void Fields(V& v) {
    v.Field("prompts", prompts, "Problems to sample.", AtLeast(1));
    v.Field("samples_per_prompt", samples_per_prompt, "Completions of each.", Between(1, 1 << 16));
    v.Field("keep_per_prompt", keep_per_prompt, "Completions kept of each, the first that are good enough.",
            AtLeast(1));
    v.Section("sampling", sampling, "How completions are drawn; as rl.sampling unless said here.");
    v.Section("problems", problems, "Where problems come from; the recipe's rl.problems unless said here.");
    v.Section("reward", reward, "Rules, weights and gates; the recipe's rl.reward unless said here.");
    v.Field("min_reward", min_reward, "A completion is kept from this reward on.");
  }
};

}  // namespace temper
