// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_replace.h"
#include "comm/mesh.h"
#include "core/config/config.h"

namespace temper {

// How the ranks of a run share the policy while they sample. Long sequences are none here, and nothing goes
// back through a pipeline: of MeshSizes it has the axes alone, without cp.
struct RolloutMesh {
  MeshSizes sizes;

  template <class V>
  void Fields(V& v) {
    v.Field("dp_replicate", sizes.dp_replicate,
            "Replicas of the policy, each with samples of its own; 0: as many as the other axes leave.",
            AtLeast(0), Free());
    v.Field("dp_shard", sizes.dp_shard,
            "Ranks with samples of their own that share one copy of the weights: each step brings all of "
            "them together, so for a policy that fits in no other way.",
            AtLeast(1), Free());
    v.Field("pp", sizes.pp, "Ranks that share the layers, and go through them one after another.", AtLeast(1),
            Free());
    v.Field("tp", sizes.tp, "Ranks that share each product.", AtLeast(1), Free());
    v.Field("ep", sizes.ep, "Ranks with samples of their own that share the experts.", AtLeast(1), Free());
  }
};

// What an error says of a mesh's keys is said of those of rollout.mesh.
inline absl::Status OfRolloutMesh(const absl::Status& status) {
  return absl::Status(status.code(), absl::StrReplaceAll(status.message(), {{"mesh.", "rollout.mesh."}}));
}

// Where samples are drawn: rollouts, collect stages, and evaluations.
struct RolloutConfig {
  std::optional<RolloutMesh> mesh;

  template <class V>
  void Fields(V& v) {
    v.Section("mesh", mesh,
              "A mesh of the same ranks for what samples, on which they have a second copy of the policy: "
              "after an update its weights go there, from rank to rank. Without this section: the recipe's "
              "mesh, and one policy.");
  }
};

}  // namespace temper
