// SPDX-License-Identifier: Apache-2.0
// The multi-token prediction module behind the policy's last layer, which predicts the token after the next
// one (DeepSeek-V3 report, arXiv 2412.19437, section 2.2, depth 1). Of row i it reads h_i, which is what the
// final norm gives the head, and the embedding of token i + 1:
//   x_i = eh_proj [enorm(embedding); hnorm(h_i)]
// goes through a decoder layer of the module's own and its norm (shared_head.norm), and the policy's head
// gives token i + 2. The order of the two, and that h_i is normed before, are those of vLLM and SGLang, which
// run the published weights.
#pragma once

#include <memory>

#include "model/blocks/blocks.h"

namespace temper {

class Mtp {
 public:
  // `weights` are found behind the module's prefix.
  Mtp(const ModelConfig& config, const WeightSource& weights, const MeshPlace& rank);

  // Rows of what it reads, or of their gradients.
  struct Inputs {
    Matrix embedded, hidden;
  };
  // What Backward needs, in the workspace of `keep`.
  struct Kept {
    bool keeps_attention = false, keeps_mlp = false;  // else they run again on the way back
    Matrix x = {}, middle = {}, out = {};             // of the layer, between its blocks, and behind it
    float *embedded_rstd = nullptr, *hidden_rstd = nullptr, *rstd = nullptr;
    std::unique_ptr<Saved> attention = {}, mlp = {};
  };
  // y = what the head reads, of the view's rows. The contexts differ in their workspace alone, that of what
  // is kept and that of what is not; where nothing is kept it may be one.
  void Forward(const Context& keep, const Context& scratch, const BatchView& view, const Inputs& in, Matrix y,
               Kept* kept) const;
  // The gradients of the inputs from that of y; the weights' go on.
  struct Gradients {
    Matrix dy;
    Inputs of_inputs;
  };
  void Backward(const Context& c, const BatchView& view, const Inputs& in, Kept* kept,
                const Gradients& gradients) const;

 private:
  // Both normed, side by side.
  void Join(const Context& c, const Inputs& in, Matrix joined, Kept* kept) const;

  Norm embedded_norm_, hidden_norm_;
  Linear project_;
  std::unique_ptr<Block> attention_, mlp_;
  Norm norm_;
};

}  // namespace temper
