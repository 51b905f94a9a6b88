// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/microbatches.h"

#include <algorithm>

#include "core/check.h"

namespace temper {
namespace {

void CheckRanges(const TrainSequence& sequence, size_t index) {
  int64_t last = 1;
  for (const CountedRange& range : sequence.ranges) {
    TEMPER_CHECK(last <= range.begin && range.begin < range.end, "sequence ", index, " counts tokens [",
                 range.begin, ", ", range.end, ")");
    last = range.end;
  }
  TEMPER_CHECK(!sequence.ranges.empty() && last == static_cast<int64_t>(sequence.tokens.size()), "sequence ",
               index, " has ", sequence.tokens.size(), " tokens");
}

}  // namespace

void ForEachMicrobatch(absl::Span<const TrainSequence* const> sequences, int64_t tokens,
                       absl::FunctionRef<void(const Microbatch&, size_t, size_t)> body) {
  Microbatch batch;
  size_t first = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const TrainSequence& sequence = *sequences[i];
    CheckRanges(sequence, i);
    const int64_t rows = sequence.length() - 1;
    if (i > first && static_cast<int64_t>(batch.tokens.size()) + rows > tokens) {
      body(batch, first, i - first);
      batch = Microbatch();
      first = i;
    }
    batch.tokens.insert(batch.tokens.end(), sequence.tokens.begin(), sequence.tokens.end() - 1);
    batch.targets.resize(batch.tokens.size(), -1);
    for (const CountedRange& range : sequence.ranges) {
      std::copy(sequence.tokens.begin() + range.begin, sequence.tokens.begin() + range.end,
                batch.targets.end() - rows + range.begin - 1);
    }
    batch.lengths.push_back(rows);
  }
  if (first < sequences.size()) body(batch, first, sequences.size() - first);
}

void GatherCounted(const TrainSequence& sequence, const float* rows, std::vector<float>* counted) {
  counted->clear();
  for (const CountedRange& range : sequence.ranges)
    counted->insert(counted->end(), rows + range.begin - 1, rows + range.end - 1);
}
void ScatterCounted(const TrainSequence& sequence, const std::vector<float>& counted, float* rows) {
  auto next = counted.begin();
  for (const CountedRange& range : sequence.ranges) {
    const auto end = next + (range.end - range.begin);
    std::copy(next, end, rows + range.begin - 1);
    next = end;
  }
}

}  // namespace temper
