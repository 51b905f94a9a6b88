// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/workload.h"

#include <algorithm>

namespace temper {

UpdateSize Workload::SizeOn(const MeshSizes& mesh) const {
  const int64_t ranks = DataRanks(mesh), leaves = (updates->gradient_leaves + ranks - 1) / ranks;
  const int64_t rows = std::max(updates->tokens_per_microbatch, longest) * ranks * leaves;
  return {leaves, std::max<int64_t>((tokens + rows - 1) / rows, 1)};
}

namespace {

// Nobody knows how long documents are before they are read.
Workload OfDocuments(const SftConfig& sft) {
  return {.updates = &sft, .tokens = sft.gradient_leaves * sft.tokens_per_microbatch};
}

}  // namespace

Workload WorkloadOf(const StageConfig& stage) {
  switch (stage.kind) {
    case StageKind::kRl: {
      const RlConfig& rl = stage.rl;
      const int64_t samples = rl.prompts_per_step * rl.samples_per_prompt;
      const double length = kExpectedLength * static_cast<double>(rl.sampling.max_new_tokens);
      return {.updates = &rl,
              .sampling = &rl.sampling,
              .samples = samples,
              .tokens = samples * (kExpectedPrompt + static_cast<int64_t>(length)),
              .longest = kPromptAllowance + rl.sampling.max_new_tokens,
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

}  // namespace temper
