// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "core/config/config.h"
#include "rewards/rules.h"
#include "trainer/config/problems.h"
#include "trainer/config/updates.h"
#include "trainer/update/advantage.h"
#include "trainer/update/loss.h"

namespace temper {

enum class TruncatedCompletions { kScored, kMasked };

struct RlConfig : UpdatesConfig {
  RlConfig() { tokens_per_shared_prompt = 4096; }

  int64_t steps = 60;
  int64_t samples_per_prompt = 8;
  int64_t updates_per_rollout = 1;
  SamplingConfig sampling;
  ProblemsConfig problems;
  RewardConfig reward;
  PolicyLossConfig loss;
  AdvantageConfig advantage;
  TruncatedCompletions truncated = TruncatedCompletions::kScored;
  bool skip_groups_without_spread = true;
  bool shuffle_rewards = false;
  int64_t reference_refresh_steps = 0;
  bool reference_in_memory = true;

  template <class V>
  void Fields(V& v) {
    v.Field("steps", steps, "Updates of the stage.", AtLeast(1));
    UpdatesConfig::Fields(v);
    v.Field("samples_per_prompt", samples_per_prompt, "Completions of a group.", Between(2, 1 << 16));
    v.Field("tokens_per_shared_prompt", tokens_per_shared_prompt,
            "The samples of a group go through the model together in updates, their prompt once, forward and "
            "back: as many neighbours as have at most so many tokens with the prompt, which may be more than "
            "tokens_per_microbatch; 0: each sample brings its prompt. A gradient's bits depend on it.",
            Between(0, 1 << 24));
    v.Field("updates_per_rollout", updates_per_rollout,
            "A rollout of prompts_per_step x updates_per_rollout prompts is split at random into this many "
            "updates.",
            Between(1, 1024));
    v.Section("sampling", sampling, "How completions are drawn.");
    v.Check(sampling.temperature >= 0.01f, "sampling.temperature",
            "is too low to train with: the completions of a group would be one; the least is 0.01");
    v.Section("problems", problems, "Where problems come from.");
    v.Section("reward", reward, "Rules, weights and gates.");
    v.Choice("ratio_level", loss.ratio_level,
             {{"token", RatioLevel::kToken}, {"sequence", RatioLevel::kSequence}},
             "The importance ratio: by token (GRPO) or the completion's geometric mean (GSPO).");
    v.Field("clip_low", loss.clip_low, "The ratio is cut at 1 - clip_low.", Between(0.0, 1e30));
    v.Field("clip_high", loss.clip_high, "The ratio is cut at 1 + clip_high.", Between(0.0, 1e30));
    v.Field("kl_coef", loss.kl_coef,
            "Weight of the k3 KL estimate to the reference policy, in the loss; 0: no reference.",
            Between(0.0, 1e30));
    v.Choice("normalization", loss.normalization,
             {{"sequence_mean", LossNormalization::kSequenceMean},
              {"token_mean", LossNormalization::kTokenMean},
              {"constant", LossNormalization::kConstant}},
             "Mean over a completion's tokens then over completions (GRPO), over all tokens (DAPO), or by "
             "constant_length (Dr. GRPO).");
    v.Field("constant_length", loss.constant_length, "normalization constant: tokens are divided by this.",
            AtLeast(0));
    v.Field("divide_by_std", advantage.divide_by_std,
            "Divide advantages by the group's standard deviation (GRPO).");
    v.Field("advantage_epsilon", advantage.epsilon, "Added to that standard deviation.", Between(0.0, 1e30));
    v.Choice("truncated", truncated,
             {{"scored", TruncatedCompletions::kScored}, {"masked", TruncatedCompletions::kMasked}},
             "Completions cut by length: scored as they are, or left out of the loss and of their group's "
             "statistics.");
    v.Field("skip_groups_without_spread", skip_groups_without_spread,
            "Leave groups whose rewards are all equal out of the update (only without KL do they add "
            "nothing). An update of such groups alone moves neither weights nor optimizer.");
    v.Field("shuffle_rewards", shuffle_rewards,
            "A control: rewards are permuted within the batch, so that they say nothing.");
    v.Field(
        "reference_refresh_steps", reference_refresh_steps,
        "The reference becomes the policy every so many updates; 0: never. Where kl_coef is 0 there is none.",
        AtLeast(0));
    v.Field("reference_in_memory", reference_in_memory,
            "Whether the reference's weights stay in memory. false: each update reads them from disk, for a "
            "pass, and then makes its gradient in that memory; the files that the stage started from have to "
            "stay until it ends.",
            Free());
  }
};

}  // namespace temper
