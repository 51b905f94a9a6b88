// SPDX-License-Identifier: Apache-2.0
#include "comm/mesh.h"

#include <algorithm>
#include <limits>

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

int64_t& MeshSizes::at(Axis axis) {
  int64_t* const sizes[kAxes] = {&pp, &dp_replicate, &dp_shard, &ep, &cp, &tp};
  return *sizes[static_cast<int>(axis)];
}

std::string MeshText(const MeshSizes& sizes) {
  std::string text;
  for (int i = 0; i < kAxes; ++i) {
    const Axis axis = static_cast<Axis>(i);
    if (sizes[axis] > 1) absl::StrAppendFormat(&text, " %s %d", AxisName(axis), sizes[axis]);
  }
  if (sizes.sequence_parallel) text += " sequence_parallel";
  return text;
}

absl::StatusOr<MeshSizes> Resolve(MeshSizes sizes, int ranks) {
  if (sizes.sequence_parallel && sizes.tp == 1) {
    return absl::InvalidArgumentError(
        "mesh.sequence_parallel is true, and mesh.tp is 1: ranks of mesh.tp share the tokens; set tp to 2 or "
        "more, or leave it out");
  }
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
  if (sizes.dp_replicate > std::numeric_limits<int>::max()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("mesh.dp_replicate is %d, and %d ranks were started: set it to 0 for all",
                        sizes.dp_replicate, ranks));
  }
  if (sizes.dp_replicate != 0 && sizes.dp_replicate != left) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "mesh.dp_replicate is %d%s%s, and %d ranks were started: start %d ranks, or set it to 0 for all",
        sizes.dp_replicate, text.empty() ? "" : ", ", text, ranks, sizes.dp_replicate * others));
  }
  sizes.dp_replicate = left;
  return sizes;
}

int64_t DataRanks(const MeshSizes& sizes) {
  return sizes.dp_replicate * sizes.dp_shard * sizes.ep * sizes.cp;
}

const std::vector<MeshPart>& MeshParts() {
  using enum Axis;
  static const auto* const parts = [] {
    auto* const all = new std::vector<MeshPart>;
    for (int i = 0; i < kAxes; ++i) all->push_back({AxisName(static_cast<Axis>(i)), {static_cast<Axis>(i)}});
    all->insert(all->end(), {{"dp", {kDpReplicate, kDpShard, kEp, kCp}},
                             {"mates", {kPp, kTp}},
                             {"dp_shard x cp", {kDpShard, kCp}},
                             {"cutters", {kDpShard, kCp, kTp}},
                             {"holders", {kPp, kDpShard, kEp, kCp, kTp}},
                             {"in step", {kDpShard, kEp, kCp}},
                             {"replicas", {kDpReplicate, kEp}},
                             {"all", {kPp, kDpReplicate, kDpShard, kEp, kCp, kTp}}});
    return all;
  }();
  return *parts;
}

PartPlace PlaceIn(const MeshPart& part, const MeshPlace& place) {
  PartPlace in;
  for (int i = 0; i < kAxes; ++i) {
    const int64_t size = place.sizes[static_cast<Axis>(i)];
    const bool inside =
        std::find(part.axes.begin(), part.axes.end(), static_cast<Axis>(i)) != part.axes.end();
    if (inside) in.ranks *= size;
    int64_t& number = inside ? in.rank : in.color;
    number = number * size + place.at[i];
  }
  return in;
}

namespace {

std::shared_ptr<Communicator> RanksOf(const MeshPart& part, const MeshPlace& place, Communicator& world) {
  const PartPlace in = PlaceIn(part, place);
  if (in.ranks == world.size()) return std::shared_ptr<Communicator>(&world, [](Communicator*) {});
  if (in.ranks == 1) return std::make_shared<SelfCommunicator>();
  return world.Split(static_cast<int>(in.color), part.name);
}

}  // namespace

int64_t RankOf(const MeshPlace& place, const MeshPart& part, int64_t rank) {
  MeshPlace other = place;
  for (auto axis = part.axes.rbegin(); axis != part.axes.rend(); ++axis) {
    other.at[static_cast<int>(*axis)] = rank % place.sizes[*axis];
    rank /= place.sizes[*axis];
  }
  return RankOf(other);
}

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

Mesh::Mesh(const MeshSizes& sizes, Communicator& world) : place_(PlaceOf(sizes, world.rank())) {
  for (int i = 0; i < kMeshParts; ++i) parts_[i] = RanksOf(MeshParts()[i], place_, world);
}

absl::StatusOr<Mesh> Mesh::Create(const MeshSizes& sizes, Communicator& world) {
  TEMPER_ASSIGN_OR_RETURN(const MeshSizes resolved, Resolve(sizes, world.size()));
  return Mesh(resolved, world);
}

Mesh Mesh::Counting(const MeshPlace& place, RankMessages* log) {
  Mesh mesh(place);
  for (int i = 0; i < kMeshParts; ++i) {
    const PartPlace in = PlaceIn(MeshParts()[i], place);
    mesh.parts_[i] =
        std::make_shared<CountingCommunicator>(static_cast<int>(in.rank), static_cast<int>(in.ranks), log, i);
  }
  return mesh;
}

const Mesh& Mesh::Single() {
  static SelfCommunicator self;
  static const Mesh mesh = Mesh::Create({}, self).value();
  return mesh;
}

}  // namespace temper
