// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "model/causal_lm.h"
#include "trainer/update/loss.h"

namespace temper {

// How sequences become rows.
struct Packing {
  int64_t tokens = 4096;  // of a microbatch, which changes no bits
  // Of the neighbours of one group whose prompt is put through the policy once, at most, which does
  // (docs/exactness.md); 0: each has its own.
  int64_t tokens_per_shared_prompt = 0;
};

// Packs sequences, in order, into microbatches of at most `tokens` rows (a longer sequence, or bundle of
// those that share a prompt, goes alone) and calls body(microbatch, first, count) with the sequences [first,
// first + count) of each. A bundle is all but the last token of its prompt, then the other rows of each
// sequence; which sequences it has they alone decide: the first ones of a group as long as they fit, then the
// next ones. The last token of a sequence is no input; tokens outside the counted ranges are no targets.
void ForEachMicrobatch(absl::Span<const TrainSequence* const> sequences, const Packing& packing,
                       absl::FunctionRef<void(const Microbatch&, size_t first, size_t count)> body);

// Of each sequence in a microbatch the row of its first token, or where that would be if the sequence had a
// row for each.
std::vector<int64_t> FirstRows(const Microbatch& batch);

// The counted ones of a sequence's rows, which begin at `rows`, one after another, and back. A row has the
// logprob of the token behind it.
void GatherCounted(const TrainSequence& sequence, const float* rows, std::vector<float>* counted);
void ScatterCounted(const TrainSequence& sequence, const std::vector<float>& counted, float* rows);

}  // namespace temper
