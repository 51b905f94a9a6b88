// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/config/config.h"
#include "rewards/rules.h"
#include "trainer/config/problems.h"

namespace temper {

// How a policy is measured, after a stage and, on fewer problems, during it; not at all where held_out says
// no source of problems.
struct EvaluationConfig {
  int64_t problems = 256;
  int64_t samples_per_prompt = 16;
  int64_t hard_problems = 256;
  int64_t hard_samples_per_prompt = 16;
  int64_t during_every = 0;
  int64_t during_problems = 64;
  int64_t during_samples_per_prompt = 2;
  SamplingConfig sampling;
  ProblemsConfig source;
  ProblemsConfig hard;
  std::optional<RewardConfig> reward;  // none: the stage's own (trainer/measure.h)
  std::string pass_rule;
  bool before = true;

  template <class V>
  void Fields(V& v) {
    v.Field("problems", problems,
            "Held-out problems; 0, or nothing that held_out takes them from: no evaluation.", AtLeast(0));
    v.Field("samples_per_prompt", samples_per_prompt, "Samples of each: k of pass@k and cons@k.",
            Between(1, 4096));
    v.Field("hard_problems", hard_problems,
            "Problems of the harder level; 0, or nothing that hard takes them from: none.", AtLeast(0));
    v.Field("hard_samples_per_prompt", hard_samples_per_prompt, "Samples of each.", Between(1, 4096));
    v.Field("during_every", during_every,
            "Updates between the small evaluations of a running rl stage; 0: none.", AtLeast(0), Free());
    v.Field("during_problems", during_problems, "Held-out problems of a small evaluation.", AtLeast(1),
            Free());
    v.Field("during_samples_per_prompt", during_samples_per_prompt, "Samples of each.", Between(1, 4096),
            Free());
    v.Section("sampling", sampling, "How completions are drawn.");
    v.Section("held_out", source, "The held-out problems.");
    v.Section("hard", hard, "The harder level.");
    v.Section("reward", reward,
              "The rules that policies are measured by. Without this section: those that train the stage; of "
              "stages that no reward trains those of the last rl stage before, else of the first after.");
    v.Field("pass_rule", pass_rule,
            "The rule by whose verdict a problem counts as solved (pass@1); empty: the first that judges the "
            "answer, and not how it is written.");
    v.Field("before", before,
            "A model directory that a stage trains is measured before that, too, as a stage NAME.before.");
  }

  // How many problems each level has, at most.
  int64_t HeldOutProblems() const { return source.is_given() ? problems : 0; }
  int64_t HardProblems() const { return HeldOutProblems() > 0 && hard.is_given() ? hard_problems : 0; }
};

}  // namespace temper
