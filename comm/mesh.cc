// SPDX-License-Identifier: Apache-2.0
#include "comm/mesh.h"

#include "absl/strings/str_format.h"
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

Mesh::Mesh(const MeshSizes& sizes, Communicator& world) : sizes_(sizes), world_(&world) {
  int64_t inner = 1;  // ranks between two neighbours of the axis
  for (int i = kAxes - 1; i >= 0; --i) {
    const int64_t size = sizes[static_cast<Axis>(i)];
    if (size == 1) {
      axes_[i] = std::make_shared<SelfCommunicator>();
    } else if (size == world.size()) {
      axes_[i] = std::shared_ptr<Communicator>(&world, [](Communicator*) {});
    } else {
      const int64_t place = world.rank() / inner % size;
      axes_[i] = world.Split(static_cast<int>(world.rank() - place * inner));
    }
    inner *= size;
  }
}

absl::StatusOr<Mesh> Mesh::Create(const MeshSizes& sizes, Communicator& world) {
  TEMPER_ASSIGN_OR_RETURN(const MeshSizes resolved, Resolve(sizes, world.size()));
  return Mesh(resolved, world);
}

const Mesh& Mesh::Single() {
  static SelfCommunicator self;
  static const Mesh mesh = Mesh::Create({}, self).value();
  return mesh;
}

}  // namespace temper
