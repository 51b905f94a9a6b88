// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "model/weights.h"

namespace temper {

// The two ends of the policy, whose rows are the vocabulary: the embedding and the head. Ranks of mesh.tp
// share the rows; each looks up, and predicts, its own. Where they share the tokens too, x and hidden, and
// their gradients, have a rank's own (model/across.h); tokens and targets are all ranks'. A row of hidden may
// be several rows one behind the other, each with a target, where each token has so many.
class Vocabulary {
 public:
  // Both outlive it.
  Vocabulary(const ModelConfig& config, const Weights* weights) : config_(config), weights_(*weights) {}

  // x[i] = the embedding of tokens[i]. A token that is none of the vocabulary is a broken invariant.
  void Embed(const Context& c, const std::vector<int32_t>& tokens, Matrix x) const;
  // The embedding's gradient goes on with these rows.
  void EmbedBackward(const Context& c, const std::vector<int32_t>& tokens, Matrix dx) const;

  // [rows, vocab], in the workspace.
  Matrix Logits(const Context& c, Matrix hidden) const;

  // Of tokens that have targets: see TrainPass.
  struct Targets {
    absl::Span<const int32_t> ids;  // -1: none
    float temperature = 1;
    std::vector<kernels::LogSumExp>* sums = nullptr;  // what Backward needs
    Matrix logits = {};  // likewise, of the tokens that have targets; none: it computes them again
  };
  // entropies may be null; ranks that share the vocabulary have none.
  void Logprobs(const Context& c, Matrix hidden, const Targets& targets, float* logprobs,
                double* entropies) const;
  // The head's gradient goes on with these rows.
  void LogprobsBackward(const Context& c, Matrix hidden, const Targets& targets, const float* dlogprobs,
                        Matrix dhidden) const;

 private:
  // The gradients of those tokens' rows whose embedding this rank has, in the order of tokens.
  struct OwnedRows {
    Matrix dx;
    std::vector<int32_t> tokens;  // their numbers, and
    std::vector<int32_t> ids;     // which of its embedding's rows they are
  };
  OwnedRows TakeOwned(const Context& c, const std::vector<int32_t>& tokens, Matrix dx) const;
  // Tokens in the order of the ranks that have their rows.
  struct ByOwner {
    std::vector<int32_t> place;  // of each token in that order
    std::vector<int64_t> edges;  // of the ranks' tokens in it
    std::vector<int32_t> rows;   // this rank's tokens: where they are among all,
    std::vector<int32_t> ids;    // and which of its embedding's rows they are
  };
  ByOwner Sort(const Context& c, absl::Span<const int32_t> tokens) const;
  // Of the embedding's rows those that each rank needs go there, and their gradients back.
  void EmbedOwn(const Context& c, absl::Span<const int32_t> tokens, Matrix x) const;
  void SendOwn(const Context& c, absl::Span<const int32_t> tokens, Matrix dx, const OwnedRows& owned) const;

  // The same numbers, a row for each target.
  Matrix ByTarget(Matrix hidden) const;

  const ModelConfig& config_;
  const Weights& weights_;
};

}  // namespace temper
