// SPDX-License-Identifier: Apache-2.0
// What ranks that share a long sequence (mesh.cp) do for one another inside attention: each has the rows of
// its positions (model/stretches.h), all get the keys and values of the whole, and the gradients of those are
// summed where their positions are. A rank that has a sequence alone calls the backend.
#pragma once

#include <vector>

#include "model/blocks/blocks.h"

namespace temper {

// The rows of all ranks, in the order of positions, in new memory of the workspace; of one rank these.
Matrix GatherPositions(const Context& c, const BatchView& batch, Matrix mine);

// Of values of all positions those of a rank, and back from all ranks. On the host.
void TakeValues(const SharedSequence& shared, const float* all, int rank, std::vector<float>* mine);
void GatherValues(const SharedSequence& shared, const std::vector<float>& mine, float* all,
                  Communicator& ranks);

// AttentionBackward. k and v are of the whole sequence, all else of this rank's positions.
void AttentionBackwardAcross(const Context& c, const BatchView& batch,
                             const kernels::AttentionBackwardTask& task);

}  // namespace temper
