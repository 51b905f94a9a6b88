// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "core/fields.h"

namespace temper {

// How many ways each axis of the mesh is split; the product is the number of ranks. 0 for dp_replicate: all
// ranks that the other axes leave.
struct MeshSizes {
  int dp_replicate = 0;
  int dp_shard = 1;
  int pp = 1;
  int tp = 1;
  int ep = 1;
  int cp = 1;

  void Fields(FieldVisitor& v) {
    v.Field("dp_replicate", dp_replicate, "ranks that hold all weights and share the samples; 0: all ranks",
            AtLeast(0));
    v.Field("dp_shard", dp_shard, "ranks that share one copy of the weights (FSDP); only 1 yet", AtLeast(1));
    v.Field("pp", pp, "pipeline stages; only 1 yet", AtLeast(1));
    v.Field("tp", tp, "ranks that share each product; only 1 yet", AtLeast(1));
    v.Field("ep", ep, "ranks that share the experts; only 1 yet", AtLeast(1));
    v.Field("cp", cp, "ranks that share each sequence; only 1 yet", AtLeast(1));
  }
};

// Where this rank stands. There is no global rank anywhere: who needs one is given a const Mesh&.
class Mesh {
 public:
  // Refuses what temper cannot run on this many ranks, naming the key. `world` outlives the mesh.
  static absl::StatusOr<Mesh> Create(MeshSizes sizes, Communicator& world);
  // One rank, for tests and commands that never split work.
  static const Mesh& Single();

  const MeshSizes& sizes() const { return sizes_; }  // dp_replicate is resolved
  // The ranks that hold the same shard of the weights and other samples; its collectives are this rank's and
  // theirs.
  Communicator& dp() const { return *world_; }
  int dp_rank() const { return world_->rank(); }
  int dp_size() const { return world_->size(); }
  Communicator& world() const { return *world_; }
  // The one rank that writes what exists once (config, metrics, checkpoints) and prints.
  bool is_first() const { return world_->rank() == 0; }

 private:
  Mesh(const MeshSizes& sizes, Communicator& world) : sizes_(sizes), world_(&world) {}

  MeshSizes sizes_;
  Communicator* world_;
};

// What Create checks, for `plan` and for reading a config on no rank at all.
absl::Status Validate(const MeshSizes& sizes, int ranks);

}  // namespace temper
