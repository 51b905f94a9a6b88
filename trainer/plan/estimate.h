// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "trainer/config/recipe.h"
#include "trainer/plan/cluster.h"
#include "trainer/plan/footprint.h"

namespace temper {

// What is taken for granted of a cluster's devices.
inline constexpr double kComputeShare = 0.6;  // of the f32 peak, in products
inline constexpr double kMemoryShare = 0.7;   // of the bandwidth, where weights are streamed
inline constexpr double kLinkShare = 0.7;     // of a link

// How long a stage takes, in seconds.
struct StageEstimate {
  // An update, the reference's pass before it among it: what its ranks' first one sends; ranks of an axis
  // send as much as each other, but for the ends of a pipeline. Messages are not hidden behind products.
  PartBytes sent = {};
  double products = 0, messages = 0, update = 0;
  double bubble = 0;  // the share of the pipeline's time
  // A rollout, for as many updates as the recipe says: a data rank's sequences, and those that decode at
  // once.
  double sequences = 0, together = 0, rollout = 0;
  PartBytes decode_sent = {};  // by the first rank, in a pass of those that decode
  // Before it, where what samples has a mesh of its own: the first rank's weights go there.
  int64_t published = 0;
  double publish = 0;
  double stage = 0;  // all of it; 0: nobody knows how many updates
};
// `mesh`: of all ranks of the cluster, dp_replicate resolved; one that the model can be cut by, as is the
// recipe's rollout.mesh, where it has one.
StageEstimate EstimateOf(const RecipeConfig& recipe, const StageConfig& stage, const ModelConfig& model,
                         const Cluster& cluster, const MeshSizes& mesh);

// Whether the part's ranks are all of one machine.
bool IsOnOneMachine(const MeshPart& part, const MeshSizes& mesh, const Cluster& cluster);

}  // namespace temper
