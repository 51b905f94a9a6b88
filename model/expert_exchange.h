// SPDX-License-Identifier: Apache-2.0
// What ranks that share out the experts of a layer do for one another: each computes its experts' part for
// the tokens that all of them have.
#pragma once

#include <cstdint>

#include "model/linear.h"

namespace temper {

// Whether they do at all: one rank has all experts, and calls the backend.
inline bool ExpertsAreShared(const Context& c) { return c.mesh->sizes().tp > 1; }

// CombineExperts over the experts of all ranks. `sums` [2 rows or rows, cols], one behind the other: memory
// for this rank's part, then what its part of the shared experts gives, whose last linear is `shared`.
void CombineAcross(const Context& c, const kernels::CombineExpertsTask& task, Matrix sums,
                   const Linear& shared);
// ScatterExperts over the experts of all ranks.
void ScatterAcross(const Context& c, const kernels::ScatterExpertsTask& task);
// Of values[rows * top_k] each rank has those of its experts' slots; all have all of them then.
void GatherSlots(const Context& c, const kernels::RouteShape& shape, const kernels::Routing& routing,
                 int64_t rows, float* values);

}  // namespace temper
