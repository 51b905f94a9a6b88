// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/microbatches.h"

#include <algorithm>

#include "core/check.h"

namespace temper {
namespace {

void CheckRanges(const TrainSequence& sequence, size_t index) {
  int64_t last = std::max<int64_t>(1, sequence.prompt_tokens);
  for (const CountedRange& range : sequence.ranges) {
    TEMPER_CHECK(last <= range.begin && range.begin < range.end, "sequence ", index, " counts tokens [",
                 range.begin, ", ", range.end, ")");
    last = range.end;
  }
  TEMPER_CHECK(!sequence.ranges.empty() && last == static_cast<int64_t>(sequence.tokens.size()), "sequence ",
               index, " has ", sequence.tokens.size(), " tokens");
}

// Rows that the sequences of a group share: the last token of the prompt has a target in each of its own.
int64_t SharedRows(const TrainSequence& sequence) { return std::max<int64_t>(sequence.prompt_tokens - 1, 0); }

// Sequences [begin, end), which are put through together.
struct Bundled {
  size_t begin, end;
  int64_t shared, rows;  // of each; of all
};
Bundled BundleAt(absl::Span<const TrainSequence* const> sequences, size_t begin, int64_t most) {
  const TrainSequence& first = *sequences[begin];
  const int64_t shared = SharedRows(first);
  Bundled bundle{begin, begin + 1, 0, first.length() - 1};
  if (first.group < 0 || shared == 0) return bundle;
  for (; bundle.end < sequences.size(); ++bundle.end) {
    const TrainSequence& next = *sequences[bundle.end];
    const int64_t rows = next.length() - 1 - shared;
    if (next.group != first.group || bundle.rows + rows > most) break;
    TEMPER_CHECK(next.prompt_tokens == first.prompt_tokens &&
                     std::equal(first.tokens.begin(), first.tokens.begin() + shared, next.tokens.begin()),
                 "samples of group ", first.group, " have different prompts");
    bundle.rows += rows;
  }
  if (bundle.end > begin + 1) bundle.shared = shared;
  return bundle;
}

// Its tokens from `first` on, but the last one.
void AddRows(const TrainSequence& sequence, int64_t first, Microbatch* batch) {
  const auto begin = static_cast<int64_t>(batch->tokens.size()) - first;
  batch->tokens.insert(batch->tokens.end(), sequence.tokens.begin() + first, sequence.tokens.end() - 1);
  batch->targets.resize(batch->tokens.size(), -1);
  for (const CountedRange& range : sequence.ranges) {
    std::copy(sequence.tokens.begin() + range.begin, sequence.tokens.begin() + range.end,
              batch->targets.begin() + begin + range.begin - 1);
  }
  batch->lengths.push_back(sequence.length() - 1 - first);
  batch->positions.push_back(first);
}

void AddPrefix(const TrainSequence& sequence, int64_t rows, Microbatch* batch) {
  batch->tokens.insert(batch->tokens.end(), sequence.tokens.begin(), sequence.tokens.begin() + rows);
  batch->targets.resize(batch->tokens.size(), -1);
  batch->lengths.push_back(rows);
  batch->positions.push_back(0);
}

}  // namespace

void ForEachMicrobatch(absl::Span<const TrainSequence* const> sequences, const Packing& packing,
                       absl::FunctionRef<void(const Microbatch&, size_t, size_t)> body) {
  Microbatch batch;
  size_t first = 0;
  for (size_t i = 0; i < sequences.size(); ++i) CheckRanges(*sequences[i], i);
  for (size_t i = 0; i < sequences.size();) {
    const Bundled bundle = BundleAt(sequences, i, packing.tokens_per_shared_prompt);
    if (i > first && static_cast<int64_t>(batch.tokens.size()) + bundle.rows > packing.tokens) {
      body(batch, first, i - first);
      batch = Microbatch();
      first = i;
    }
    if (bundle.shared > 0) AddPrefix(*sequences[i], bundle.shared, &batch);
    for (; i < bundle.end; ++i) AddRows(*sequences[i], bundle.shared, &batch);
  }
  if (first < sequences.size()) body(batch, first, sequences.size() - first);
}

std::vector<int64_t> FirstRows(const Microbatch& batch) {
  std::vector<int64_t> rows;
  int64_t row = 0;
  for (size_t i = 0; i < batch.lengths.size(); row += batch.lengths[i++]) {
    const bool is_prefix =
        i + 1 < batch.lengths.size() && batch.positions[i] == 0 && batch.positions[i + 1] > 0;
    if (!is_prefix) rows.push_back(row - batch.positions[i]);
  }
  return rows;
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
