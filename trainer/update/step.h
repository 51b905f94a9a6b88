// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "comm/mesh.h"
#include "model/causal_lm.h"
#include "trainer/update/leaf_gradients.h"
#include "trainer/update/leaf_hand_out.h"
#include "trainer/update/loss.h"
#include "trainer/update/microbatches.h"
#include "trainer/update/optimizer.h"
#include "trainer/update/pipeline.h"
#include "trainer/update/shares.h"

namespace temper {

// How an update is cut; none of it changes its bits but gradient_leaves and gradient_bits, which
// belong to the recipe (docs/exactness.md).
struct StepOptions {
  int64_t tokens_per_microbatch = 4096;
  int64_t gradient_leaves = 8;  // at least the largest dp
  TrainPass::Keep keep = TrainPass::Keep::kAll;
  int64_t gradient_bits = 50;        // of the recipe too: values of leaves count in 2^-bits
  int64_t long_sequence_tokens = 0;  // of the recipe too: see IsLong
  double mtp_weight = 0;             // likewise: of the loss of the MTP module, where the policy trains it
  int64_t tokens_per_shared_prompt = 0;  // likewise: see Packing
};

// dlogprobs and sums of one sequence, from the logprobs of its counted tokens.
using LossFunction =
    absl::FunctionRef<void(const TrainSequence&, absl::Span<const float>, absl::Span<float>, LossSums*)>;

// Of a sequence, and the leaf that it is in.
struct LeafSums {
  int64_t leaf = 0, index = 0;
  LossSums sums;
};

struct StepResult : OptimizerStep {
  LossSums sums;             // over all sequences, in the order of leaves
  bool skipped = false;      // there was no sequence: weights and optimizer stayed
  int64_t local_tokens = 0;  // that this rank put through the model; a prompt that is shared, once
  int64_t microbatches = 0;
  int64_t taken_over = 0;  // parts of the gradient that another rank made than they were dealt to, of all
  double bubble = 0;  // the share of the leaves' time in which the ranks of a pipeline waited, on average
};

// One update, the same bits for every packing, recompute setting and rank layout (E3): this rank's leaves one
// after another, each a chain of microbatches, which go through the ranks of a pipeline as its schedule says;
// leaves add as integers, here and across ranks; then every rank takes the same step, of what it keeps.
class Updater {
 public:
  Updater(CausalLm* model, Optimizer* optimizer, const StepOptions& options, const Mesh& mesh);

  // Without any sequence there is no step: nothing decays, no moment moves and gradient() stays. Nor where a
  // value of a leaf is not finite, or too large for gradient_bits, on any rank: `applied` is false, the norm
  // no number, and gradient() zero.
  StepResult Update(const Leaves& leaves, float temperature, const OptimizerConfig& config,
                    double learning_rate, LossFunction loss);
  // The memory of gradients, gradient()'s too, goes back until the next Update.
  void FreeGradients();
  const Pipeline& pipeline() const { return pipeline_; }
  // The summed gradient of the last Update, flat, for tests.
  std::vector<float> gradient() const;

 private:
  // A microbatch, and where it comes from.
  struct Piece {
    Microbatch batch;
    int64_t leaf = 0;
    std::vector<size_t> sequences = {};  // of the leaf; none: it is empty
    LeafTurn turn = {};
    bool counts = true;  // the sequences' figures are this rank's to tell
  };
  // What an update is made of, and what it comes to.
  struct Run {
    const Leaves* leaves;
    float temperature;
    LossFunction loss;
    StepResult* result;
    LeafHandOut* hand_out = nullptr;  // asks for parts come between microbatches
    double mtp_scale = 0;             // MtpLossTask's
    std::vector<LeafSums> sums = {};
  };

  // The microbatches of a leaf.
  std::vector<Piece> PiecesOf(const Leaves& leaves, int64_t leaf) const;
  // Those of this rank's leaves, one behind the other. Ranks that run in step have as many: a leaf begins
  // with empty ones where others' are longer, so that all end together.
  std::vector<Piece> Pieces(const Leaves& leaves, const std::vector<int64_t>& mine) const;
  // Behind them the long sequences that this rank has a share of; empty ones likewise.
  void AddLongPieces(const Leaves& leaves, std::vector<Piece>* pieces) const;
  // The one of a long sequence of a leaf.
  Piece LongPiece(const Leaves& leaves, int64_t leaf, size_t index, int64_t turn) const;
  // Part after part that this rank makes, its own or another's.
  void RunHandedOut(const Leaves& leaves, Run* run);
  // Puts them through the model, there and back.
  void RunPieces(const std::vector<Piece>& pieces, Run* run);
  // How many values the gradient of an update is the sum of, at most.
  int64_t ValuesOf(const Leaves& leaves) const;
  // The figures of all ranks' sequences, summed in the order of leaves.
  LossSums SumOfAll(const std::vector<LeafSums>& mine) const;

  CausalLm* model_;
  Optimizer* optimizer_;
  StepOptions options_;
  const Mesh& mesh_;
  Pipeline pipeline_;
  std::unique_ptr<LeafGradients> leaves_;
  std::shared_ptr<void> total_;  // of the last update, in the backend's memory
};

// The counted tokens' logprobs of each sequence under `model`: the update's packed forward without a graph
// (reference, logprobs). Ranks that run in step (Mesh::in_step) call it together, each with its own; those of
// mesh.cp with the same long ones.
struct ForwardOptions {
  int64_t tokens_per_microbatch = 4096;
  float temperature = 1;
  int64_t long_sequence_tokens = 0;      // see IsLong
  int64_t tokens_per_shared_prompt = 0;  // see Packing; the same bits here
};
void SequenceLogprobs(CausalLm& model, absl::Span<const TrainSequence* const> sequences,
                      const ForwardOptions& options,
                      absl::FunctionRef<void(size_t sequence, absl::Span<const float>)> result);

}  // namespace temper
