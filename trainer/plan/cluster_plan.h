// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "trainer/config/recipe.h"
#include "trainer/plan/cluster.h"

namespace temper {

// What a recipe takes on a cluster, before anything of it is allocated, a line each: of every stage the
// memory of the rank that takes most and whether it fits, what a rank sends for an update by axis, and how
// long rollouts and updates take, by stated assumptions. Errors: a mesh that the devices or a model do not
// allow; a config.json that cannot be read.
absl::StatusOr<std::string> ClusterPlanText(const RecipeConfig& recipe, const Cluster& cluster);

// Instead of the recipe's layout at most ten that fit, the fastest first; or where none does, what the
// nearest one lacks (trainer/plan/search.h).
absl::StatusOr<std::string> ClusterSearchText(const RecipeConfig& recipe, const Cluster& cluster);

}  // namespace temper
