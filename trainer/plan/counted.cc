// SPDX-License-Identifier: Apache-2.0
#include "trainer/plan/counted.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "trainer/weight_sync.h"

namespace temper {
namespace {

// Memory of a microbatch hardly depends on where its sequences end: these end here, at the latest. Where
// samples share prompts each has a block of keys more, that of the prompt's end: so these do.
constexpr int64_t kCountedSequence = 4096, kCountedSample = kernels::kAttentionBlock + 1;

}  // namespace

CountedRank::CountedRank(const PolicyPlace& place, RankMessages* log)
    : bf16_(place.bf16),
      mesh_(Mesh::Counting(place.mesh, log)),
      pool_(1),
      backend_(&pool_, /*packs=*/!place.on_gpu) {}

std::unique_ptr<CausalLm> CountedRank::NewPolicy(const ModelConfig& config, bool trained) {
  Parameters parameters = WithoutNumbers(config, mesh_.place(), backend_, bf16_ && !trained);
  return std::make_unique<CausalLm>(config, std::move(parameters), &backend_, bf16_ && trained, mesh_);
}

EvenUpdate::EvenUpdate(const ModelConfig& config, const UpdatesConfig& updates, int64_t longest,
                       const UpdateSize& size)
    : updates_(updates),
      is_long_(IsLong(updates, longest)),
      rows_(is_long_ ? longest : MostRows(updates, longest)),
      size_(size) {
  const int64_t most = updates.tokens_per_shared_prompt > 0 ? kCountedSample : kCountedSequence;
  int64_t length = is_long_ ? rows_ : std::min(rows_, most);
  if (config.max_positions > 0) length = std::min(length, config.max_positions);
  for (int64_t row = 0; row < rows_; row += length) {
    TrainSequence& sequence = sequences_.emplace_back();
    const int64_t tokens = std::min(length, rows_ - row) + 1;  // the last one is no input
    for (int64_t i = 0; i < tokens; ++i)
      sequence.tokens.push_back(static_cast<int32_t>((row + i) * config.vocab_size / (rows_ + 1)));
    sequence.CountFrom(1);
  }
}

std::vector<const TrainSequence*> EvenUpdate::Leaf() const {
  std::vector<const TrainSequence*> leaf;
  for (int64_t m = 0; m < size_.microbatches; ++m)
    for (const TrainSequence& sequence : sequences_) leaf.push_back(&sequence);
  return leaf;
}

int64_t EvenUpdate::DifferentTokens(const IndexRange& ids) const {
  std::set<int32_t> different;
  for (const TrainSequence& sequence : sequences_)
    different.insert(sequence.tokens.begin(), sequence.tokens.end() - 1);
  return std::distance(different.lower_bound(static_cast<int32_t>(ids.begin)),
                       different.lower_bound(static_cast<int32_t>(ids.end)));
}

UpdateMemory EvenUpdate::Run(CausalLm* policy, Optimizer* optimizer) const {
  const int64_t leaves = size_.leaves * policy->mesh().dp_size();
  Updater updater(policy, optimizer,
                  {.tokens_per_microbatch = rows_,
                   .gradient_leaves = leaves,
                   .keep = updates_.keep,
                   .gradient_bits = updates_.gradient_bits,
                   .long_sequence_tokens = is_long_ ? updates_.long_sequence_tokens : 0},
                  policy->mesh());
  updater.Update(Leaves(leaves, Leaf()), 1, OptimizerConfig(), 0,
                 [](const TrainSequence&, absl::Span<const float>, absl::Span<float>, LossSums*) {});
  return {updater.pipeline().bytes(), updater.pipeline().workspace_bytes()};
}

void EvenUpdate::Score(CausalLm* policy) const {
  std::vector<const TrainSequence*> sequences;
  // Ranks of mesh.cp share the long ones of all of them.
  const int64_t leaves = size_.leaves * (is_long_ ? policy->mesh().sizes().cp : 1);
  for (int64_t i = 0; i < leaves; ++i) {
    const std::vector<const TrainSequence*> leaf = Leaf();
    sequences.insert(sequences.end(), leaf.begin(), leaf.end());
  }
  SequenceLogprobs(
      *policy, sequences,
      {.tokens_per_microbatch = rows_, .long_sequence_tokens = is_long_ ? updates_.long_sequence_tokens : 0},
      [](size_t, absl::Span<const float>) {});
}

}  // namespace temper
