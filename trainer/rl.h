// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/statusor.h"
#include "trainer/evaluation.h"
#include "trainer/stage.h"

namespace temper {

// GRPO (DeepSeekMath, arXiv 2402.03300; DeepSeek-R1's stages): a rollout of groups, scored by rules, split
// into updates. Leaves its last checkpoint in the stage's directory.
absl::StatusOr<StagePolicy> RunRl(const StageContext& context);

}  // namespace temper
