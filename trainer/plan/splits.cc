// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/splits.h"

#include <algorithm>
#include <vector>

#include "model/decode/step_rows.h"

namespace temper {

void CountSplits(const kernels::AttentionShape& shape, const LargestPass& largest,
                 kernels::CountingBackend* backend) {
  const auto count = [&](int64_t prompt_rows, int64_t decoding, int64_t positions) {
    std::vector<kernels::AttentionSequence> sequences;
    if (prompt_rows > 0) sequences.push_back({0, prompt_rows, 0});
    for (int64_t s = 0; s < decoding; ++s) sequences.push_back({prompt_rows + s, 1, positions - 1});
    kernels::AttentionTask task{.shape = shape, .sequences = sequences};
    task.out.rows = prompt_rows + decoding;
    backend->Attention(task);
  };
  // A row of a prompt needs no more blocks than a sequence that decodes does, so that as many rows as are few
  // have one sequence beside them, or all rows of prompts that there can be.
  for (int64_t rows = 0; rows < largest.prompt_rows; ++rows) count(rows, 1, largest.positions);
  for (int64_t n = 1; n <= largest.sequences; ++n) count(largest.prompt_rows, n, largest.positions);
  // Steps are recorded for up to the next power of two of splits.
  int64_t splits = 1;
  while (splits * kernels::kAttentionSplit < largest.positions) splits *= 2;
  for (int64_t n = 1; n <= largest.sequences; ++n)
    count(0, largest.spare_rows ? StepRows(n) : n, splits * kernels::kAttentionSplit);
}

}  // namespace temper
