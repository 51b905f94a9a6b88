// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "core/config/fields.h"

namespace temper {

class RankMessages;

// How the ranks share the work, outermost first: neighbours of the last axis are neighbours in rank, so that
// what talks most stays on one machine.
enum class Axis { kPp, kDpReplicate, kDpShard, kEp, kCp, kTp };
inline constexpr int kAxes = 6;
const char* AxisName(Axis axis);  // "pp", "dp_replicate", ...

// The order in which the ranks of a pipeline do their part of an update (trainer/update/schedule.h).
enum class PipelineKind { k1f1b, kZeroBubble };

// How many ways each axis of the mesh is split; the product is the number of ranks. 0 for dp_replicate: all
// ranks that the other axes leave.
struct MeshSizes {
  int64_t dp_replicate = 0;
  int64_t dp_shard = 1;
  int64_t pp = 1;
  int64_t tp = 1;
  int64_t ep = 1;
  int64_t cp = 1;
  int64_t pp_chunks = 1;
  PipelineKind pp_schedule = PipelineKind::k1f1b;
  bool sequence_parallel = false;  // with tp

  // Of layers that each rank of pp has; one alone has them all in one.
  int64_t chunks() const { return pp == 1 ? 1 : pp_chunks; }

  int64_t operator[](Axis axis) const;
  int64_t& at(Axis axis);

  template <class V>
  void Fields(V& v) {
    v.Field("dp_replicate", dp_replicate,
            "Ranks that hold all weights and share the samples; 0: all ranks that the other axes leave.",
            AtLeast(0), Free());
    v.Field("dp_shard", dp_shard, "Ranks, times cp, that share one copy of the weights (FSDP).", AtLeast(1),
            Free());
    v.Field("pp", pp, "Ranks that share the layers (pipeline).", AtLeast(1), Free());
    v.Field("tp", tp, "Ranks that share each product.", AtLeast(1), Free());
    v.Field(
        "sequence_parallel", sequence_parallel,
        "In updates each rank of tp keeps its share of the tokens alone between the products: less memory.",
        Free());
    v.Field("ep", ep, "Ranks that share the experts.", AtLeast(1), Free());
    v.Field("cp", cp, "Ranks that share each long sequence, and the weights as those of dp_shard.",
            AtLeast(1), Free());
    v.Choice("pp_schedule", pp_schedule,
             {{"1f1b", PipelineKind::k1f1b}, {"zero_bubble", PipelineKind::kZeroBubble}},
             "The order in which the ranks of a pipeline go forward and back in an update.", Free());
    v.Field("pp_chunks", pp_chunks,
            "Chunks of neighbouring layers that each rank of a pipeline has; 2 or more: interleaved.",
            AtLeast(1), Free());
  }
};

// The sizes with dp_replicate resolved; InvalidArgument, which names the key, where their product is not
// `ranks`.
absl::StatusOr<MeshSizes> Resolve(MeshSizes sizes, int ranks);

// Where a rank stands: its place on each axis.
struct MeshPlace {
  MeshSizes sizes = {.dp_replicate = 1};
  std::array<int64_t, kAxes> at = {};

  int64_t operator[](Axis axis) const { return at[static_cast<int>(axis)]; }
};
// Of rank `rank` of the product of `sizes`, whose dp_replicate is resolved.
MeshPlace PlaceOf(const MeshSizes& sizes, int64_t rank);
int64_t RankOf(const MeshPlace& place);
int64_t RanksOf(const MeshSizes& sizes);
// " pp 2 tp 4": axes of more than one rank; behind them "sequence_parallel".
std::string MeshText(const MeshSizes& sizes);
// Ranks, or groups of them, that share out the samples (Mesh::dp).
int64_t DataRanks(const MeshSizes& sizes);

// Whom a rank speaks with: the ranks that differ from it in their places on these axes alone. Each axis is a
// part, then come those of several, which Mesh describes.
struct MeshPart {
  const char* name;
  std::vector<Axis> axes;  // outermost first
};
enum MeshPartNumber {
  kDpPart = kAxes,
  kMatesPart,
  kSharersPart,
  kCuttersPart,
  kHoldersPart,
  kInStepPart,
  kKeepersPart,
  kWorldPart,
  kMeshParts
};
const std::vector<MeshPart>& MeshParts();
// Of the part of who stands here: how many ranks it has, which of them that is, and which of all such parts.
struct PartPlace {
  int64_t ranks = 1, rank = 0, color = 0;
};
PartPlace PlaceIn(const MeshPart& part, const MeshPlace& place);
// The rank of all that is rank `rank` of the part of who stands here.
int64_t RankOf(const MeshPlace& place, const MeshPart& part, int64_t rank);

// Where this rank stands, and whom it speaks with. There is no global rank anywhere: who needs one is given a
// const Mesh&.
class Mesh {
 public:
  // Collective. `world` outlives the mesh.
  static absl::StatusOr<Mesh> Create(const MeshSizes& sizes, Communicator& world);
  // The rank at this place of ranks that are not there: what it would send is counted by axis
  // (comm/counting.h). `log` keeps its messages, where there is one, and outlives the mesh.
  static Mesh Counting(const MeshPlace& place, RankMessages* log = nullptr);
  // One rank, for tests and commands that never split work.
  static const Mesh& Single();

  const MeshPlace& place() const { return place_; }
  const MeshSizes& sizes() const { return place_.sizes; }  // dp_replicate is resolved
  Communicator& part(int number) const { return *parts_[number]; }
  // The ranks that differ from this one on this axis alone. Its rank() is this rank's place on the axis.
  Communicator& axis(Axis axis) const { return part(static_cast<int>(axis)); }
  Communicator& world() const { return part(kWorldPart); }
  // The ranks that share out the samples: dp_replicate, dp_shard, ep and cp. In updates those of cp, which
  // are neighbours in it, share long sequences besides.
  Communicator& dp() const { return part(kDpPart); }
  // The ranks that put the same samples through the policy, each its part of it: pp and tp.
  Communicator& mates() const { return part(kMatesPart); }
  // The ranks that share out the elements of what each computes with: dp_shard and cp.
  Communicator& sharers() const { return part(kSharersPart); }
  // The ranks that share each tensor's elements: those and tp.
  Communicator& cutters() const { return part(kCuttersPart); }
  // The ranks that keep the same of all weights but routed experts', of which those of dp_replicate do:
  // dp_replicate and ep. Each has leaves of its own, or parts of them.
  Communicator& keepers() const { return part(kKeepersPart); }
  // The ranks that have a whole policy between them: all but those of dp_replicate.
  Communicator& holders() const { return part(kHoldersPart); }
  // The ranks of dp_shard, ep and cp: each has samples of its own, and they run their passes together, since
  // they bring weights together, or experts' rows. One that has run out runs empty ones.
  Communicator& in_step() const { return part(kInStepPart); }
  int dp_rank() const { return dp().rank(); }
  int dp_size() const { return dp().size(); }
  // The one rank that writes what exists once (config, metrics, checkpoints) and prints.
  bool is_first() const { return world().rank() == 0; }

 private:
  Mesh(const MeshSizes& sizes, Communicator& world);
  explicit Mesh(const MeshPlace& place) : place_(place) {}

  MeshPlace place_;
  std::array<std::shared_ptr<Communicator>, kMeshParts> parts_;
};

}  // namespace temper
