// SPDX-License-Identifier: Apache-2.0
// The way of whole sequences through the policy's stack, and back. Passes have their own activations: several
// may be alive at once. Decode and prefill (model/decode/pass.h) and the packed forward run the same blocks
// over the same kernels (docs/exactness.md, E1). One thread calls.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "model/kv_cache.h"
#include "model/stack.h"
#include "model/stretches.h"

namespace temper {

// Whole sequences packed for training; targets[i] is the token after row i, or -1 where none counts.
struct Microbatch {
  std::vector<int32_t> tokens;
  std::vector<int32_t> targets;
  std::vector<int64_t> lengths;  // rows of the sequences, in order
  // Of each the position of its first row; none: all begin at 0. One that begins later goes on with the last
  // that began at 0 (kernels::Bundle), whose rows it does not repeat.
  std::vector<int64_t> positions = {};
  // It is one sequence, so long that its gradient is made in stretches, and that ranks of mesh.cp share it
  // (model/stretches.h). Each is given all of it.
  bool is_long = false;
};
// What the MTP module makes of a microbatch's rows: the logprob of the token after the next one, 0 where that
// is no target; whether no other one is likelier; and, for the way back, the gradient of each logprob.
struct MtpRows {
  std::vector<float> logprobs;
  std::vector<bool> likeliest;
  std::vector<float> dlogprobs;
};

// Of its rows, those that a rank of the mesh puts through the policy.
int64_t RowsOf(const Microbatch& batch, const MeshPlace& rank);

// Whole sequences forward, and back where their gradients are wanted. Reused from microbatch to microbatch.
class TrainPass {
 public:
  // What the forward pass keeps for the way back. A block that is not kept runs again in the backward pass,
  // from its input: same bits, less memory, more work. kInputs: of each layer its input alone; kAttention: of
  // MLPs, whose activations are the largest, theirs.
  enum class Keep { kNothing, kInputs, kAttention, kAll };
  // Through one of the stack's chunks, which outlives the pass. `scratch`: for what is needed no longer than
  // a call, so that passes may share it; outlives the pass too. Null: its own.
  TrainPass(Stack* stack, Keep keep, int64_t chunk = 0, Workspace* scratch = nullptr)
      : stack_(*stack),
        chunk_(stack->chunks().at(chunk)),
        keep_(keep),
        trains_mtp_(keep != Keep::kNothing && stack->config().mtp == MtpUse::kTrained),
        runs_mtp_(trains_mtp_ && chunk_.predicts),
        space_(&stack->backend()),
        own_scratch_(&stack->backend()),
        scratch_(scratch == nullptr ? own_scratch_ : *scratch) {}

  // Where the chunk is the whole stack: logprobs[i] = log p(targets[i] | tokens before) at the temperature, 0
  // where the target is -1; entropies may be null. The batch outlives the Backward that may follow.
  void Logprobs(const Microbatch& batch, float temperature, float* logprobs, double* entropies = nullptr) {
    Begin(batch);
    Forward();
    Logprobs(temperature, logprobs, entropies);
  }
  // The same in parts: Begin; input() of the chunk before; Forward, whose rows are the next chunk's input;
  // in the last chunk Logprobs. Ranks of mesh.tp have their own rows of these where they share rows
  // (model/across.h).
  void Begin(const Microbatch& batch);
  Matrix input() const { return inputs_.front(); }
  Matrix Forward();
  void Logprobs(float temperature, float* logprobs, double* entropies = nullptr);
  // Behind Logprobs, of a policy that trains its MTP module: null where that is not so, or nothing is kept.
  // Its dlogprobs, all 0 so far, count in StartBackward.
  MtpRows* mtp_rows() { return runs_mtp_ ? &mtp_rows_ : nullptr; }

  // Gradients of sum_i dlogprobs[i] * logprobs[i] continue their chains in the bound buffers. Once after
  // each Logprobs.
  void Backward(const float* dlogprobs) {
    StartBackward(dlogprobs);
    Backward(/*weights_later=*/false);
  }
  // The same in parts: in the last chunk StartBackward, in others gradient() of the rows that Forward gave;
  // Backward, which returns the gradient of input(); BackwardWeights where it left the weights for later.
  void StartBackward(const float* dlogprobs);
  Matrix gradient();
  Matrix Backward(bool weights_later);
  void BackwardWeights();

  int64_t bytes() const { return space_.bytes() + own_scratch_.bytes(); }
  int64_t allocated_bytes() const { return space_.allocated_bytes() + own_scratch_.allocated_bytes(); }

 private:
  // Whether block i of the chunk keeps what its way back needs.
  bool Keeps(size_t i) const { return keep_ == Keep::kAll || (keep_ == Keep::kAttention && i % 2 == 0); }
  // Where the sequences' keys and values go, in one layer after another.
  void PlaceSequences(const Microbatch& batch);

  Context In(Workspace* workspace) const {
    return {.backend = &stack_.backend(),
            .workspace = workspace,
            .mesh = &stack_.mesh(),
            .stretches = stretches_ ? &*stretches_ : nullptr,
            .shares_rows = stack_.mesh().sizes().sequence_parallel};
  }
  BatchView View();
  // Memory for logits that are kept; none: they take more than their product is worth.
  Matrix NewLogits();
  // This rank's rows of a long sequence.
  void TakeShare(const Microbatch& batch);
  // The head reads, and gives targets to, each row of hidden_, then the same row of the MTP module: rows of
  // one order, so that the head's gradient is one chain whatever the packing.
  Matrix HeadRows() const { return runs_mtp_ ? pairs_ : hidden_; }
  absl::Span<const int32_t> HeadTargets() const {
    return shared_ || runs_mtp_ ? targets_ : absl::Span<const int32_t>(batch_->targets);
  }
  // Whether the module's chunk is another one than the embedding's, and this is that.
  bool feeds_mtp() const { return trains_mtp_ && chunk_.embeds && !chunk_.predicts; }
  void PlaceMtpRows();
  Mtp::Inputs MtpInputs();
  void ForwardMtp();
  // Adds to the gradient of hidden_.
  void BackwardMtp(Matrix dy, Matrix dhidden);
  void TakeMtpLogprobs(float* logprobs);
  // Of all of the embedding's rows, which the first rank of a pipeline sends.
  void TakeMtpEmbedded();
  // The gradients of embeddings that it read go to the rows that they stood in.
  void AddMtpEmbedded(Matrix dx);

  Stack& stack_;
  const Stack::Chunk& chunk_;
  const Keep keep_;
  const bool trains_mtp_, runs_mtp_;
  Workspace space_, own_scratch_;
  Workspace& scratch_;
  const Microbatch* batch_ = nullptr;
  // Of a long sequence: this rank's rows.
  std::optional<Stretches> stretches_;
  std::optional<SharedSequence> shared_;  // where there are several ranks
  std::vector<int32_t> tokens_, targets_;
  std::vector<float> values_;
  float temperature_ = 1;
  std::vector<int32_t> positions_;
  std::vector<void*> block_pointers_;
  std::vector<kernels::AttentionSequence> sequences_;
  std::vector<kernels::AttentionSequence> written_;  // whose keys go to blocks
  std::vector<Matrix> inputs_;  // of each block, or layer (kInputs); without Backward of the first alone
  std::vector<std::unique_ptr<Saved>> saved_;
  Matrix output_;  // of the last block
  Matrix hidden_;
  float* rstd_ = nullptr;
  Matrix gradient_;  // of output_
  WeightQueue later_;
  std::vector<kernels::LogSumExp> sums_;
  Matrix logits_;  // of the head, where they are kept for the way back
  // Where the MTP module runs:
  std::vector<int32_t> next_row_;  // of each row, in its sequence; of a last one itself
  Matrix pairs_;                   // of each row what the head reads: hidden_, then the module's
  Matrix embedded_, dembedded_;    // what the first layer reads; of each row the gradient of the next token's
  Mtp::Kept mtp_kept_;
  MtpRows mtp_rows_;
};

}  // namespace temper
