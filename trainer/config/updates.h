// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>

#include "core/config/config.h"
#include "model/causal_lm.h"
#include "trainer/update/optimizer.h"

namespace temper {

enum class InBackground { kAuto, kYes, kNo };

inline constexpr std::initializer_list<std::pair<const char*, TrainPass::Keep>> kRecomputeNames = {
    {"false", TrainPass::Keep::kAll},
    {"mlp", TrainPass::Keep::kAttention},
    {"true", TrainPass::Keep::kInputs}};

// What every training stage says of its updates.
struct UpdatesConfig {
  int64_t prompts_per_step = 32;
  int64_t tokens_per_microbatch = 4096;
  int64_t gradient_leaves = 8;
  int64_t gradient_bits = 50;
  int64_t long_sequence_tokens = 8192;
  int64_t tokens_per_shared_prompt = 0;  // rl has the field
  TrainPass::Keep keep = TrainPass::Keep::kAll;
  std::optional<double> checkpoint_minutes = std::nullopt;  // BetweenCheckpoints says
  int64_t checkpoint_every = 0;
  InBackground checkpoint_in_background = InBackground::kAuto;
  int64_t keep_last = 2;
  int64_t keep_every = 0;
  std::string keep_best;
  OptimizerConfig optimizer;

  template <class V>
  void Fields(V& v) {
    v.Field("prompts_per_step", prompts_per_step, "Prompts (sft, pretrain: documents) of one update.",
            Between(1, 1 << 24));
    v.Field("tokens_per_microbatch", tokens_per_microbatch,
            "Tokens that go through the model at once; changes memory and speed, never bits.",
            Between(1, 1 << 24), Free());
    v.Field("gradient_leaves", gradient_leaves,
            "Parts of an update whose gradients are summed apart and then together: at least the ranks that "
            "share the samples.",
            Between(1, 1024));
    v.Field(
        "gradient_bits", gradient_bits,
        "A part's gradient counts in units of 2^-bits, so that any order adds to the same bits. An update "
        "with a value of 2^(62 - bits) / gradient_leaves or more is skipped (updates/out_of_range).",
        Between(20, 100));
    v.Field("long_sequence_tokens", long_sequence_tokens,
            "A sequence of so many tokens or more is long: ranks of mesh.cp share it, and its gradient is "
            "made in 16 stretches, on one rank too; 0: none is.",
            AtLeast(0));
    v.Choice("recompute", keep, kRecomputeNames,
             "What runs again in the backward pass instead of being kept: nothing, the MLPs (whose "
             "activations are the largest), or all blocks. Same bits; each takes less memory and more time "
             "than the one before.",
             Free());
    v.Field(
        "checkpoint_minutes", checkpoint_minutes,
        "Minutes between checkpoints: what a crash can cost. There is one at the end of a stage and at a "
        "requested stop in any case; 0: none by the clock. auto: sqrt(2 x what the last one held training "
        "up x time between faults), by which saving and repeating together take least (Young, Daly), but "
        "1 to 10; a rank is taken to fail once in 8,000 hours, 1,024 ranks once in 7.8 (Meta's clusters: "
        "7.9). The first is due after 1.",
        AtLeast(0.0), Free(), None("auto"));
    v.Field("checkpoint_every", checkpoint_every, "Updates between checkpoints, beside the minutes; 0: none.",
            Between(0, 1 << 20), Free());
    v.Choice("checkpoint_in_background", checkpoint_in_background,
             {{"auto", InBackground::kAuto}, {"true", InBackground::kYes}, {"false", InBackground::kNo}},
             "Whether a checkpoint is copied to memory and written while training goes on. auto: where on "
             "every machine what its ranks copy (`temper plan` says how much one does) takes together at "
             "most half of the memory that is free then.",
             Free());
    v.Field("keep_last", keep_last,
            "Checkpoints that are kept, the newest; where the newest is damaged the run goes on from the one "
            "before.",
            Between(2, 1 << 20), Free());
    v.Field("keep_every", keep_every,
            "Milestones: a checkpoint after every so many updates that is never removed; 0: none.",
            Between(0, 1 << 20), Free());
    v.Field(
        "keep_best", keep_best,
        "A figure of metrics.jsonl, such as eval/pass@1: the checkpoint of the update where it was highest "
        "is saved and kept (-loss: lowest); empty: none.",
        Free());
    v.Section("optimizer", optimizer, "AdamW and its schedule.");
  }
};

}  // namespace temper
