// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "trainer/config/recipe.h"

namespace temper {

// Whether `keep_best` of a training stage names a figure that its updates, or its evaluations during them,
// write to metrics.jsonl. The error says the nearest that they do.
absl::Status CheckKeepBest(const RecipeConfig& recipe, const StageConfig& stage,
                           const UpdatesConfig& updates);

}  // namespace temper
