// SPDX-License-Identifier: Apache-2.0
// What the ranks that share the products of a layer (mesh.tp) do for one another inside a block: the tree
// over their parts of a sum, and what the others have. One rank does nothing. Where the context says so
// (mesh.sequence_parallel) each has its own rows alone of what lies between the products, which is its share
// of the pass's rows (ShareOf): the residual stream, its norms, and their gradients.
#pragma once

#include <cstdint>

#include "comm/reduce.h"
#include "model/workspace.h"

namespace temper {

inline Communicator& TensorRanks(const Context& c) { return c.mesh->axis(Axis::kTp); }

// Each rank's sum over its subtree of chunks becomes, on all, the sum over the whole axis. The rows lie one
// behind the other.
void SumAcross(const Context& c, Matrix sum);
// The columns of all ranks, of `whole` in all, each rank's where its share of them is (ShareOf), in new
// memory of the workspace; of one rank these.
Matrix GatherColumns(const Context& c, Matrix mine, int64_t whole);

// Which are this rank's own, of `rows`: all of them where ranks do not share rows.
Share OwnShare(const Context& c, int64_t rows);
// Of the pass's rows.
Matrix OwnRows(const Context& c, Matrix all);
// Each rank's own rows of `all`, which has all of the pass's, go to the others.
void GatherRows(const Context& c, Matrix all);
// The same in new memory of the workspace, of so many rows; where ranks do not share rows these.
Matrix AllRows(const Context& c, Matrix own, int64_t rows);
// As SumAcross, but each rank ends with its own rows alone, which come back; all where they do not share
// them.
Matrix SumOwnRows(const Context& c, Matrix sum);

}  // namespace temper
