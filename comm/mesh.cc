// SPDX-License-Identifier: Apache-2.0
#include "comm/mesh.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "comm/counting.h"
#include "core/check.h"
#include "core/status.h"

namespace temper {

const char* AxisName(Axis axis) {
  static constexpr const char* kNames[kAxes] = {"pp", "dp_replicate", "dp_shard", "ep", "cp", "tp"};
  return kNames[static_cast<int>(axis)];
}

int64_t MeshSizes::operator[](Axis axis) const {
  const int64_t sizes[kAxes] = {pp, dp_replicate, dp_shard, ep, cp, tp};
  return sizes[static_cast<int>(axis)];
}

absl::StatusOr<MeshSizes> Resolve(MeshSizes sizes, int ranks) {
  int64_t others = 1;
  std::string text;
  for (int i = 0; i < kAxes; ++i) {
    const Axis axis = static_cast<Axis>(i);
    const int64_t size = sizes[axis];
    if (axis == Axis::kDpReplicate || size == 1) continue;
    absl::StrAppendFormat(&text, "%smesh.%s is %d", text.empty() ? "" : ", ", AxisName(axis), size);
    if (size > ranks || ranks % (others * size) != 0) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s, and %d ranks were started, which is no multiple of it", text, ranks));
    }
    others *= size;
  }
  const int64_t left = ranks / others;
  if (sizes.dp_replicate != 0 && sizes.dp_replicate != left) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "mesh.dp_replicate is %d%s%s, and %d ranks were started: start %d ranks, or set it to 0 for all",
        sizes.dp_replicate, text.empty() ? "" : ", ", text, ranks, sizes.dp_replicate * others));
  }
  sizes.dp_replicate = left;
  return sizes;
}

namespace {

// The ranks of `world` that differ from this one in the places on these axes alone.
std::shared_ptr<Communicator> RanksAlong(const MeshPlace& place, std::initializer_list<Axis> axes,
                                         Communicator& world) {
  int64_t inside = 1, color = 0;
  for (int i = 0; i < kAxes; ++i) {
    const int64_t size = place.sizes[static_cast<Axis>(i)];
    if (std::find(axes.begin(), axes.end(), static_cast<Axis>(i)) != axes.end()) {
      inside *= size;
    } else {
      color = color * size + place.at[i];
    }
  }
  if (inside == 1) return std::make_shared<SelfCommunicator>();
  if (inside == world.size()) return std::shared_ptr<Communicator>(&world, [](Communicator*) {});
  return world.Split(static_cast<int>(color));
}

}  // namespace

MeshPlace PlaceOf(const MeshSizes& sizes, int64_t rank) {
  MeshPlace place{sizes, {}};
  for (int i = kAxes - 1; i >= 0; --i) {
    const int64_t size = sizes[static_cast<Axis>(i)];
    place.at[i] = rank % size;
    rank /= size;
  }
  TEMPER_CHECK(rank == 0);
  return place;
}

int64_t RankOf(const MeshPlace& place) {
  int64_t rank = 0;
  for (int i = 0; i < kAxes; ++i) rank = rank * place.sizes[static_cast<Axis>(i)] + place.at[i];
  return rank;
}

int64_t RanksOf(const MeshSizes& sizes) {
  int64_t ranks = 1;
  for (int i = 0; i < kAxes; ++i) ranks *= sizes[static_cast<Axis>(i)];
  return ranks;
}

Mesh::Mesh(const MeshSizes& sizes, Communicator& world)
    : place_(PlaceOf(sizes, world.rank())), world_(&world) {
  for (int i = 0; i < kAxes; ++i) axes_[i] = RanksAlong(place_, {static_cast<Axis>(i)}, world);
  dp_ = RanksAlong(place_, {Axis::kDpReplicate, Axis::kDpShard, Axis::kEp, Axis::kCp}, world);
  cutters_ = RanksAlong(place_, {Axis::kDpShard, Axis::kTp}, world);
  holders_ = RanksAlong(place_, {Axis::kPp, Axis::kDpShard, Axis::kEp, Axis::kTp}, world);
  in_step_ = RanksAlong(place_, {Axis::kDpShard, Axis::kEp}, world);
  mates_ = RanksAlong(place_, {Axis::kPp, Axis::kTp}, world);
  keepers_ = RanksAlong(place_, {Axis::kDpReplicate, Axis::kEp, Axis::kCp}, world);
  expert_keepers_ = RanksAlong(place_, {Axis::kDpReplicate, Axis::kCp}, world);
}

absl::StatusOr<Mesh> Mesh::Create(const MeshSizes& sizes, Communicator& world) {
  TEMPER_ASSIGN_OR_RETURN(const MeshSizes resolved, Resolve(sizes, world.size()));
  return Mesh(resolved, world);
}

Mesh Mesh::Counting(const MeshPlace& place) {
  Mesh mesh(place);
  const auto ranks = [&](std::initializer_list<Axis> axes) {
    int64_t rank = 0, size = 1;
    for (const Axis axis : axes) {
      rank = rank * place.sizes[axis] + place[axis];
      size *= place.sizes[axis];
    }
    return std::make_shared<CountingCommunicator>(static_cast<int>(rank), static_cast<int>(size));
  };
  for (int i = 0; i < kAxes; ++i) mesh.axes_[i] = ranks({static_cast<Axis>(i)});
  mesh.dp_ = ranks({Axis::kDpReplicate, Axis::kDpShard, Axis::kEp, Axis::kCp});
  mesh.mates_ = ranks({Axis::kPp, Axis::kTp});
  mesh.keepers_ = ranks({Axis::kDpReplicate, Axis::kEp, Axis::kCp});
  mesh.expert_keepers_ = ranks({Axis::kDpReplicate, Axis::kCp});
  mesh.owned_world_ = std::make_shared<CountingCommunicator>(static_cast<int>(RankOf(place)),
                                                             static_cast<int>(RanksOf(place.sizes)));
  mesh.world_ = mesh.owned_world_.get();
  return mesh;
}

const Mesh& Mesh::Single() {
  static SelfCommunicator self;
  static const Mesh mesh = Mesh::Create({}, self).value();
  return mesh;
}

}  // namespace temper
