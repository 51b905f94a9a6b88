// SPDX-License-Identifier: Apache-2.0
// What the ranks that share the products of a layer (mesh.tp) do for one another inside a block: the tree
// over their parts of a sum, and what the others have. One rank does nothing.
#pragma once

#include <cstdint>

#include "model/workspace.h"

namespace temper {

inline Communicator& TensorRanks(const Context& c) { return c.mesh->axis(Axis::kTp); }

// Each rank's sum over its subtree of chunks becomes, on all, the sum over the whole axis. The rows lie one
// behind the other.
void SumAcross(const Context& c, Matrix sum);
// The columns of all ranks, of `whole` in all, each rank's where its share of them is (ShareOf), in new
// memory of the workspace; of one rank these.
Matrix GatherColumns(const Context& c, Matrix mine, int64_t whole);

}  // namespace temper
