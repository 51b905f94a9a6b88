// SPDX-License-Identifier: Apache-2.0
// What ranks that share out the experts of a layer do for one another. Those of mesh.tp have the same rows,
// and each computes its experts' part for all of them. Those of mesh.ep have rows of their own: a row goes
// once to each rank that has an expert of its, and one row comes back; or, where ranks have parts of ranges
// of ids alone (CombineExpertsTask), a row of each of these experts. One rank calls the backend.
#pragma once

#include <cstdint>
#include <vector>

#include "model/linear.h"

namespace temper {

// Whether they do at all.
inline bool ExpertsAreShared(const Context& c) { return c.mesh->sizes().tp * c.mesh->sizes().ep > 1; }
// Whether rows go to other ranks.
inline bool RowsAreSent(const Context& c) { return c.mesh->sizes().ep > 1; }

// Whether they have parts of ranges.
inline bool RangesAreCut(const Context& c) {
  return c.mesh->sizes().tp * c.mesh->sizes().ep > kernels::kChunks;
}

// The rows whose experts are this rank's.
struct ExpertRows {
  kernels::Routing routing = {};  // of these rows, with the entries of this rank's experts
  int64_t count = 0;
  // Where rows are sent, by rank of mesh.ep: which of this rank's rows it gets, and where the rows that it
  // sent begin here.
  std::vector<std::vector<int32_t>> sent = {};
  std::vector<int64_t> edges = {};
  // Of long sequences, where the rows of one stretch go over to those of the next one, of the same rank or
  // another.
  std::vector<int64_t> stretches = {};
  std::vector<int> owners = {};  // of each expert, of mesh.ep; -1: it is beside another rank of mesh.tp
  bool even = false;             // of ranks that are not there (comm/counting.h)
  // Where ranges are cut: the entries of this rank's own rows, those of all ranks of mesh.ep, and by rank
  // which of them it computes, in the order of rows and slots.
  kernels::RouteShape own_shape = {};
  kernels::Routing own = {};
  std::vector<std::vector<int32_t>> returned = {};
};
// Tells the others which rows they get. `own`: the routing of this rank's `rows` rows. New arrays are the
// workspace's.
ExpertRows TakeRows(const Context& c, const kernels::RouteShape& shape, const kernels::Routing& own,
                    int64_t rows);
// The rows' numbers, which other ranks need; theirs come to `in` [rows.count, cols]. Where none are sent, not
// to be called.
void SendRows(const Context& c, const ExpertRows& rows, Matrix mine, Matrix in);
// Of values [rows.count, top_k] those of this rank's experts go back to `mine` of the rank whose rows they
// are, and to its mates of mesh.tp: all slots have theirs then. `own`: the routing of this rank's rows.
void ReturnSlots(const Context& c, const kernels::RouteShape& shape, const ExpertRows& rows,
                 const kernels::Routing& own, const float* values, Matrix mine);

// CombineExperts over the experts of all ranks, to `out` and with a `residual` of this rank's own rows where
// ranks share rows (model/across.h). `sums` [2 rows or rows, cols], one behind the other: memory for what the
// experts give all rows of these ranks, then what its part of the shared experts does, whose last linear is
// `shared`.
void CombineAcross(const Context& c, const ExpertRows& rows, const kernels::CombineExpertsTask& task,
                   Matrix sums, const Linear& shared);
// ScatterExperts over the experts of all ranks; `add` has this rank's own rows, as `dx` does in their place
// then.
void ScatterAcross(const Context& c, const ExpertRows& rows, const kernels::ScatterExpertsTask& task);

// Where the entries [first, first + count), which are one expert's, go over from one rank's rows to the next
// one's, or from one stretch to the next one; none where all are of one leaf.
std::vector<int64_t> LeafEdges(const ExpertRows& rows, int64_t first, int64_t count);

}  // namespace temper
