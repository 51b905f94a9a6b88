// SPDX-License-Identifier: Apache-2.0
// A head that is the embedding, whose gradient is added to the embedding's once a leaf. In a pipeline the
// last rank has the one and the first the other, and both keep the weight. Of other heads these do nothing.
#pragma once

#include "model/causal_lm.h"

namespace temper {

// Whether a rank has both, so that the gradient of the head is made in the embedding's place and the
// embedding's own beside it (UnitGradients::Buffers::rows).
bool HasHeadBeside(const CausalLm& model);
// On the rank that has the head: its gradient of a leaf is there.
void SendHeadGradient(CausalLm* model);
// On the rank that has the embedding, while its gradient is acquired: both are there.
void AddHeadGradient(CausalLm* model);
// Of the sum of leaves, flat by the layout: both ranks get the embedding's.
void ShareTiedGradient(CausalLm* model, float* gradient);

}  // namespace temper
