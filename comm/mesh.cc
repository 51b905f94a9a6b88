// SPDX-License-Identifier: Apache-2.0
#include "comm/mesh.h"

#include <bit>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/check.h"
#include "core/status.h"

namespace temper {

absl::Status Validate(const MeshSizes& sizes, int ranks) {
  const std::pair<const char*, int> later[] = {
      {"dp_shard", sizes.dp_shard}, {"pp", sizes.pp}, {"tp", sizes.tp}, {"ep", sizes.ep}, {"cp", sizes.cp}};
  for (const auto& [name, size] : later) {
    if (size == 1) continue;
    return absl::UnimplementedError(absl::StrFormat(
        "mesh.%s is %d: this version splits only dp_replicate; set mesh.%s to 1", name, size, name));
  }
  const int dp = sizes.dp_replicate == 0 ? ranks : sizes.dp_replicate;
  if (dp != ranks) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "mesh.dp_replicate is %d and %d ranks were started: start %d ranks, or set it to 0 for all", dp,
        ranks, dp));
  }
  if (dp < 1 || !std::has_single_bit(static_cast<unsigned>(dp))) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "mesh.dp_replicate is %d: gradients add in a binary tree over ranks; start 1, 2, 4, 8, ... ranks",
        dp));
  }
  return absl::OkStatus();
}

absl::StatusOr<Mesh> Mesh::Create(MeshSizes sizes, Communicator& world) {
  TEMPER_RETURN_IF_ERROR(Validate(sizes, world.size()));
  sizes.dp_replicate = world.size();
  return Mesh(sizes, world);
}

const Mesh& Mesh::Single() {
  static SelfCommunicator self;
  static const Mesh mesh = Mesh::Create({}, self).value();
  return mesh;
}

}  // namespace temper
