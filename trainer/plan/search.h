// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "trainer/config/recipe.h"
#include "trainer/plan/cluster.h"
#include "trainer/plan/plan.h"

namespace temper {

// A layout of a cluster's ranks.
struct LayoutProposal {
  MeshSizes mesh;
  std::string stage;   // that takes most memory,
  Pools pools;         // and what its fullest rank takes
  double seconds = 0;  // of all stages; of those whose updates nobody counts, of one update
};

struct LayoutSearch {
  int64_t layouts = 0;              // that all models can be cut by
  std::vector<LayoutProposal> fit;  // whose memory fits, the fastest first
  LayoutProposal nearest;           // where none does, the one that takes least
};
// All layouts of the cluster's ranks, with the recipe's pipeline schedule. What samples has the recipe's
// rollout.mesh, or where it has none the same. Errors: a config.json that cannot be read; ranks that no
// layout takes; a rollout.mesh that cannot be.
absl::StatusOr<LayoutSearch> SearchLayouts(const RecipeConfig& recipe, const Cluster& cluster);

}  // namespace temper
