// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "kernels/backends/counting.h"

namespace temper {

// The largest pass of an engine: rows of prompts and drafts, sequences that decode, and positions that the
// longest of them has.
struct LargestPass {
  int64_t prompt_rows = 0, sequences = 0, positions = 0;
  bool spare_rows = true;  // in recorded steps (model/decode/pass.h)
};

// Has a backend count what a device keeps for attention in all passes that are no larger. Splits of keys go
// to blocks of their own where there are few others, and each row has memory for as many as the longest
// sequence has: so the most is taken in a pass of as many rows as are few still, beside one long sequence.
void CountSplits(const kernels::AttentionShape& shape, const LargestPass& largest,
                 kernels::CountingBackend* backend);

}  // namespace temper
