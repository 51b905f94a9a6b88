// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "comm/mesh.h"
#include "model/causal_lm.h"
#include "trainer/update/gradient_sum.h"
#include "trainer/update/loss.h"
#include "trainer/update/optimizer.h"
#include "trainer/update/pipeline.h"

namespace temper {

// How an update is cut; none of it changes its bits but gradient_leaves and gradient_bits, which
// belong to the recipe (docs/exactness.md).
struct StepOptions {
  int64_t tokens_per_microbatch = 4096;
  int64_t gradient_leaves = 8;  // at least the largest dp
  TrainPass::Keep keep = TrainPass::Keep::kAll;
  int64_t gradient_bits = 50;  // of the recipe too: values of leaves count in 2^-bits
};

// An update's sequences by gradient leaf, each leaf in its canonical order.
using Leaves = std::vector<std::vector<const TrainSequence*>>;

// dlogprobs and sums of one sequence, from the logprobs of its counted tokens.
using LossFunction =
    absl::FunctionRef<void(const TrainSequence&, absl::Span<const float>, absl::Span<float>, LossSums*)>;

struct StepResult : OptimizerStep {
  LossSums sums;             // over all sequences, in the order of leaves
  bool skipped = false;      // there was no sequence: weights and optimizer stayed
  int64_t local_tokens = 0;  // that this rank put through the model
  int64_t microbatches = 0;
  double bubble = 0;  // the share of the leaves' time in which the ranks of a pipeline waited, on average
};

// One update, the same bits for every packing, recompute setting and rank layout (E3): this rank's leaves one
// after another, each a chain of microbatches, which go through the ranks of a pipeline as its schedule says;
// leaves add as integers, here and across ranks; then every rank takes the same step.
class Updater {
 public:
  Updater(CausalLm* model, Optimizer* optimizer, const StepOptions& options, const Mesh& mesh);
  ~Updater();

  // Without any sequence there is no step: nothing decays, no moment moves and gradient() stays. Nor where a
  // value of a leaf is not finite, or too large for gradient_bits, on any rank: `applied` is false, the norm
  // no number, and gradient() zero.
  StepResult Update(const Leaves& leaves, float temperature, const OptimizerConfig& config,
                    double learning_rate, LossFunction loss);
  // The summed gradient of the last Update, flat, for tests.
  std::vector<float> gradient() const;

 private:
  // A leaf's gradient, all zeros.
  std::shared_ptr<void> BeginLeaf();
  // What the policy adds to from now on: a leaf's gradient, which begins here where it has not.
  void Bind(int64_t leaf);
  // A leaf is whole.
  void EndLeaf(int64_t leaf);
  // Puts the leaves' sequences through the model, there and back.
  void RunLeaves(const Leaves& leaves, float temperature, LossFunction loss, std::vector<LossSums>* sums,
                 StepResult* result);
  // Of a pipeline whose head is tied: its last rank gets the embedding's gradient from the first.
  void ShareTiedGradient();
  // The figures of all ranks' sequences, summed in the order of leaves.
  LossSums SumOfAll(const std::vector<LossSums>& mine) const;

  CausalLm* model_;
  Optimizer* optimizer_;
  StepOptions options_;
  const Mesh& mesh_;
  Pipeline pipeline_;
  GradientSum sum_;
  std::map<int64_t, std::shared_ptr<void>> leaves_;  // that are on their way
  std::shared_ptr<void> total_;                      // of the last update, in the backend's memory
};

// Which leaf each sequence or group goes to: see trainer/update/packing.h (DealLeaves). Leaves [first, first
// + count) are this rank's.
struct LeafRange {
  int64_t first = 0, count = 0;
};
LeafRange LocalLeaves(const Mesh& mesh, int64_t gradient_leaves);
// The rank whose it is.
int LeafOwner(const Mesh& mesh, int64_t gradient_leaves, int64_t leaf);

// Packs sequences, in order, into microbatches of at most `tokens` rows (a longer sequence goes alone) and
// calls body(microbatch, first, count) with the sequences [first, first + count) of each. The last token of a
// sequence is no input; tokens outside the counted ranges are no targets.
void ForEachMicrobatch(absl::Span<const TrainSequence* const> sequences, int64_t tokens,
                       absl::FunctionRef<void(const Microbatch&, size_t first, size_t count)> body);

// The counted tokens' logprobs of each sequence under `model`: the update's packed forward without a graph
// (reference, logprobs).
void SequenceLogprobs(CausalLm& model, absl::Span<const TrainSequence* const> sequences,
                      int64_t tokens_per_microbatch, float temperature,
                      absl::FunctionRef<void(size_t sequence, absl::Span<const float>)> result);

}  // namespace temper
