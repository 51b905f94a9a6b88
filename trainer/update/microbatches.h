// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "model/causal_lm.h"
#include "trainer/update/loss.h"

namespace temper {

// Packs sequences, in order, into microbatches of at most `tokens` rows (a longer sequence goes alone) and
// calls body(microbatch, first, count) with the sequences [first, first + count) of each. The last token of a
// sequence is no input; tokens outside the counted ranges are no targets.
void ForEachMicrobatch(absl::Span<const TrainSequence* const> sequences, int64_t tokens,
                       absl::FunctionRef<void(const Microbatch&, size_t first, size_t count)> body);

// The counted ones of a sequence's rows, which begin at `rows`, one after another, and back. A row has the
// logprob of the token behind it.
void GatherCounted(const TrainSequence& sequence, const float* rows, std::vector<float>* counted);
void ScatterCounted(const TrainSequence& sequence, const std::vector<float>& counted, float* rows);

}  // namespace temper
