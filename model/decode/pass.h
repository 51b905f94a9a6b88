// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "model/kv_cache.h"
#include "model/stack.h"

namespace temper {

// New tokens for the paged cache: sequences one after another, their tokens row by row. A decode step has one
// row a sequence, a prefill many; both may be in one batch.
struct TokenBatch {
  struct Sequence {
    int64_t rows = 0;
    int64_t first_position = 0;       // how many tokens of the sequence are in the cache already
    absl::Span<const int32_t> pages;  // page b holds positions 64b..64b+63; covers the new tokens
  };
  std::vector<int32_t> tokens;
  std::vector<Sequence> sequences;
};

// Continues sequences whose keys and values are in a paged cache. One thread calls.
//
// Where the backend records (own kernels on a GPU) a decode step, in which each sequence has one new token
// and logits, is recorded when it comes for the second time, and done at once from then on: one launch, and a
// copy to the device for each 64 KiB of tokens, positions and tables (24 bytes an expert of a layer too).
// Call by call a dense layer is 11 kernels and 4 copies, each 2 to 4 us of the host's time: some 1 ms for the
// 24 layers of Qwen2.5-0.5B, whose weights an H100 reads in 0.7. A step that is recorded has rows to spare,
// so that it serves for a few sequences less, and reaches to the next power of two of 1,024 positions; rows
// do not meet, so no bit depends on that. It is recorded anew where the cache or the rotation's tables have
// moved; weights never do. How many rows an expert has stays on the device: no layer waits for the host. A
// step with experts has no rows to spare, and goes call by call where they have more than 16 in the mean, or
// are of bf16 and their sizes do not divide by 64. So do steps of ranks that share layers, heads, experts or
// weights, and passes with drafts (of a sequence several rows: rollout's draft_tokens), or which an MTP
// module follows.
class DecodePass {
 public:
  // The stack outlives the pass.
  explicit DecodePass(Stack* stack);

  // Writes the new tokens' keys into the cache. The logits [logit_rows.size(), vocab] of the rows named lie
  // in the backend's memory until the next pass; of a pipeline on its last rank, and none on others. Its
  // ranks call together. `drafts`: the cache keeps what ForwardMtp reads.
  Matrix Forward(const TokenBatch& batch, const KvCache& cache, absl::Span<const int32_t> logit_rows,
                 bool drafts = false);
  // The MTP module's pass over positions of which the cache has the policy's rows; the batch's tokens are
  // those that come one after these positions. Its keys go where those of the positions are. Logits as above:
  // of the tokens after them.
  Matrix ForwardMtp(const TokenBatch& batch, const KvCache& cache, absl::Span<const int32_t> logit_rows);

  int64_t bytes() const { return space_.bytes(); }
  int64_t allocated_bytes() const { return space_.allocated_bytes(); }
  // Steps that were done at once so far.
  int64_t replayed() const { return replayed_; }

 private:
  // The host's arrays that tell the calls of a pass which tokens it is about.
  struct Rows {
    std::vector<int32_t> tokens, positions, logit_rows;
    std::vector<kernels::AttentionSequence> sequences;
    std::vector<void*> blocks;  // their tables
  };
  // What the calls of a decode step depend on, and where what they use lies.
  struct StepSize {
    int64_t rows = 0, splits = 0;
    const void* cache = nullptr;  // of several engines each has its own
    friend auto operator<=>(const StepSize&, const StepSize&) = default;
  };
  struct Places {
    const void *cosines = nullptr, *sines = nullptr;
    int64_t layer_bytes = 0;
    friend bool operator==(const Places&, const Places&) = default;
  };
  struct Step {
    Rows rows;
    int64_t last = 0;  // which step it was made for last; 0: none
    Places places;
    std::unique_ptr<kernels::Recording> recording;
    Matrix logits;
  };

  // `spare` rows and sequences more, which no token has.
  void Place(const TokenBatch& batch, const KvCache& cache, absl::Span<const int32_t> logit_rows, Rows* rows,
             int64_t spare = 0) const;
  struct RunAs {
    bool is_step = false, drafts = false;
  };
  Matrix Run(const Rows& rows, BatchView view, const KvCache& cache, const RunAs& as);
  // The rows of hidden_ go to where the batch's positions are.
  void KeepHidden(const TokenBatch& batch, const KvCache& cache);
  Matrix Selected(Matrix all, absl::Span<const int32_t> rows);
  // Of these rows; where ranks share the weights out they ask together, for none too.
  Matrix Logits(const Context& c, Matrix last);
  bool IsStep(const TokenBatch& batch, absl::Span<const int32_t> logit_rows) const;
  Matrix ForwardStep(const TokenBatch& batch, const KvCache& cache, absl::Span<const int32_t> logit_rows);
  // The step of this size. A new one takes the place of the one that was not made for longest.
  Step& StepOf(const StepSize& size);
  // Those whose memory others have outgrown.
  void DropOutgrown();

  Stack& stack_;
  Workspace space_;
  bool has_experts_ = false;
  int64_t most_rows_ = 0;  // of a step that is recorded
  Rows rows_, mtp_rows_;
  Matrix hidden_;  // of the last Forward, normed: the rows that have logits; all, where the cache keeps them
  std::map<StepSize, Step> steps_;
  int64_t made_ = 0, replayed_ = 0;  // steps
};

}  // namespace temper
