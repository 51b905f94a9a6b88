// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/workload.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"

namespace temper {

int64_t MostRows(const UpdatesConfig& updates, int64_t longest) {
  return std::max({updates.tokens_per_microbatch, longest, updates.tokens_per_shared_prompt});
}

UpdateSize Workload::SizeOn(const MeshSizes& mesh) const {
  const int64_t ranks = DataRanks(mesh), leaves = (updates->gradient_leaves + ranks - 1) / ranks;
  const int64_t rows = MostRows(*updates, longest) * ranks * leaves;
  return {leaves, std::max<int64_t>((tokens + rows - 1) / rows, 1)};
}

UpdateSize Workload::MostOn(const MeshSizes& mesh) const {
  UpdateSize size = SizeOn(mesh);
  size.leaf_tokens = leaf_tokens > 0 ? leaf_tokens : std::numeric_limits<int64_t>::max();
  if (!single && size.leaf_tokens > std::max(updates->tokens_per_microbatch, longest))
    size.microbatches = std::max<int64_t>(size.microbatches, 2);
  return size;
}

namespace {

// Whether every sequence is a microbatch of its own, after which its gradient goes on in no other's.
bool AllAreLong(const UpdatesConfig& updates) { return updates.long_sequence_tokens == 1; }

// Nobody knows how long documents are before they are read. Where they are no more than the leaves each has
// one.
Workload OfDocuments(const SftConfig& sft) {
  return {.updates = &sft,
          .tokens = sft.gradient_leaves * sft.tokens_per_microbatch,
          .single = AllAreLong(sft) || sft.prompts_per_step <= sft.gradient_leaves};
}

// How often the prompt of a group goes through the model, whose completions have so many tokens.
int64_t PromptsOfGroup(const RlConfig& rl, int64_t completion) {
  const int64_t room = rl.tokens_per_shared_prompt - kExpectedPrompt;
  const int64_t together =
      std::clamp<int64_t>(room / std::max<int64_t>(completion, 1), 1, rl.samples_per_prompt);
  return (rl.samples_per_prompt + together - 1) / together;
}

}  // namespace

Workload WorkloadOf(const StageConfig& stage) {
  switch (stage.kind) {
    case StageKind::kRl: {
      const RlConfig& rl = stage.rl;
      const int64_t samples = rl.prompts_per_step * rl.samples_per_prompt;
      const int64_t longest = kPromptAllowance + rl.sampling.max_new_tokens;
      // The last group that is dealt to a leaf goes to the one with least.
      const int64_t group = rl.samples_per_prompt * longest;
      const double length = kExpectedLength * static_cast<double>(rl.sampling.max_new_tokens);
      const int64_t prompts = rl.prompts_per_step * PromptsOfGroup(rl, static_cast<int64_t>(length));
      const int64_t completions = samples * static_cast<int64_t>(length);
      const int64_t tokens = prompts * kExpectedPrompt + completions;
      const double seen = static_cast<double>(prompts) * kExpectedPrompt * kExpectedPrompt / 2 +
                          static_cast<double>(completions) * (kExpectedPrompt + length / 2);
      return {.updates = &rl,
              .sampling = &rl.sampling,
              .samples = samples,
              .tokens = tokens,
              .context = seen / static_cast<double>(tokens),
              .longest = longest,
              .leaf_tokens = group + (rl.prompts_per_step - 1) * group / rl.gradient_leaves,
              .single = AllAreLong(rl),
              .reference = rl.loss.kl_coef != 0,
              .reference_stays = rl.loss.kl_coef != 0 && rl.reference_in_memory};
    }
    case StageKind::kSft:
      return OfDocuments(stage.sft);
    case StageKind::kPretrain:
      return OfDocuments(stage.pretrain);
    case StageKind::kCollect:
      return {.sampling = &stage.collect.sampling};
    case StageKind::kEval:
      return {.sampling = &stage.evaluation.sampling};
  }
  return {};
}

absl::Status CheckLeaves(const UpdatesConfig& updates, const MeshSizes& mesh) {
  const int64_t leaves = updates.gradient_leaves, sharing = DataRanks(mesh);
  if (leaves >= sharing) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(leaves, " leaves cannot be shared out among ", sharing,
                                                 " ranks: use at most ", leaves,
                                                 " ranks, or more leaves (which makes other bits)"));
}

}  // namespace temper
