// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "comm/message_log.h"
#include "trainer/config/recipe.h"
#include "trainer/plan/cluster.h"

namespace temper {

// Where a recipe is exercised.
struct ExerciseOptions {
  int ranks = 1;
  const Cluster* cluster = nullptr;  // of the ranks; null: they are on processors
  // For tests: what to do to a rank's messages before they are matched.
  std::function<void(MessageLog*)> spoil = nullptr;
};

// Every rank of the recipe's mesh does a rollout step and an update of each stage, one rank after another
// with neither memory nor ranks beside it, and then all their messages are matched. Says what was done, sent
// and taken, a line each. Errors: a message without its partner, or of another size; ranks that wait for each
// other; tensors' bytes that are not the plan's; a rank that takes more memory than its device has.
absl::StatusOr<std::string> ExerciseText(const RecipeConfig& recipe, const ExerciseOptions& options);

}  // namespace temper
