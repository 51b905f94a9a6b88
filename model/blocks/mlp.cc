// SPDX-License-Identifier: Apache-2.0
// The dense MLP: down(silu(gate(x)) * up(x)) (Shazeer 2020).
#include "model/blocks/mlp.h"

#include "model/across.h"

namespace temper {

namespace {

struct SavedMlp : Saved {
  Matrix x, gate, up;
  float* rstd = nullptr;
};

class DenseMlp : public Block {
 public:
  DenseMlp(const ModelConfig& config, const WeightSource& weights)
      : norm_(weights, "post_attention_layernorm", config.rms_norm_eps), mlp_(weights, "mlp.") {}

  void Forward(const Context& c, const BatchView& batch, Matrix x, Matrix y,
               std::unique_ptr<Saved>* saved) override {
    auto keep = std::make_unique<SavedMlp>();
    keep->x = x;
    keep->rstd = c.workspace->Floats(x.rows);
    keep->gate = c.workspace->NewRows(batch.rows(), mlp_.width());
    keep->up = c.workspace->NewRows(batch.rows(), mlp_.width());
    const Workspace::Mark mark = c.workspace->Here();
    const Matrix normed = c.workspace->NewRows(batch.rows(), x.cols);
    norm_.Forward(c, x, OwnRows(c, normed), keep->rstd);
    GatherRows(c, normed);
    c.backend->Products({mlp_.gate.Forward(normed, keep->gate), mlp_.up.Forward(normed, keep->up)});
    if (y) {
      const Matrix activated = c.workspace->NewRows(batch.rows(), mlp_.width());
      c.backend->SwiGlu({keep->gate, keep->up, activated});
      mlp_.down.Apply(c, activated, y, x);
    }
    c.workspace->Release(mark);
    if (saved != nullptr) *saved = std::move(keep);
  }

  void Backward(const Context& c, const BatchView& batch, const Saved& saved, Matrix dy, Matrix dx) override {
    const auto& keep = static_cast<const SavedMlp&>(saved);
    const int64_t rows = batch.rows();
    Matrix dactivated = c.workspace->NewRows(rows, mlp_.width());
    Matrix dgate = c.workspace->NewRows(rows, mlp_.width());
    Matrix dup = c.workspace->NewRows(rows, mlp_.width());
    Matrix dnormed = c.workspace->NewRows(dy.rows, dy.cols);
    // What is quickly made anew is not kept: the norm, and `activated` beside its gradient.
    Matrix normed = c.workspace->NewRows(rows, dy.cols);
    Matrix activated = c.workspace->NewRows(rows, mlp_.width());
    norm_.Forward(c, keep.x, OwnRows(c, normed), nullptr);
    GatherRows(c, normed);
    Backprop back(c);
    back.Through({{mlp_.down, AllRows(c, dy, rows)}}, activated, dactivated);
    back.Inputs();
    c.backend->SwiGluBackward({dactivated, keep.gate, keep.up, dgate, dup, activated});
    back.ThroughOwn({{mlp_.gate, dgate}, {mlp_.up, dup}}, normed, dnormed);
    back.Inputs();
    back.Weights();
    norm_.Backward(c, {dnormed, keep.x, keep.rstd, dx, /*add=*/dy, /*own=*/true});
  }

 private:
  Norm norm_;
  SwiGluLinears mlp_;
};

}  // namespace

std::unique_ptr<Block> MakeDenseMlp(const ModelConfig& config, const WeightSource& weights,
                                    const LayerPlace& at) {
  return std::make_unique<DenseMlp>(config, weights);
}

}  // namespace temper
