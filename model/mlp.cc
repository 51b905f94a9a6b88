// SPDX-License-Identifier: Apache-2.0
// The dense MLP: down(silu(gate(x)) * up(x)) (Shazeer 2020).
#include "model/mlp.h"

namespace temper {

SwiGluWeights FindSwiGlu(const WeightSource& weights, const std::string& prefix) {
  return {weights.Find(prefix + "gate_proj.weight"), weights.Find(prefix + "up_proj.weight"),
          weights.Find(prefix + "down_proj.weight"), weights.Find(prefix + "gate_proj.bias"),
          weights.Find(prefix + "up_proj.bias"),     weights.Find(prefix + "down_proj.bias")};
}

void BiasGradients(const Context& c, const SwiGluWeights& mlp, Matrix ddown, Matrix dgate, Matrix dup) {
  if (mlp.down_bias == nullptr) return;
  c.backend->BiasGradient(ddown, mlp.down_bias->gradient.f32());
  c.backend->BiasGradient(dgate, mlp.gate_bias->gradient.f32());
  c.backend->BiasGradient(dup, mlp.up_bias->gradient.f32());
}

namespace {

struct SavedMlp : Saved {
  Matrix x, normed, gate, up, activated;
  float* rstd = nullptr;
};

class DenseMlp : public Block {
 public:
  DenseMlp(const ModelConfig& config, const WeightSource& weights)
      : norm_(weights.Find("post_attention_layernorm.weight")),
        mlp_(FindSwiGlu(weights, "mlp.")),
        eps_(config.rms_norm_eps) {}

  void Forward(const Context& c, const BatchView& batch, Matrix x, Matrix y,
               std::unique_ptr<Saved>* saved) override {
    auto keep = std::make_unique<SavedMlp>();
    keep->x = x;
    keep->rstd = c.workspace->Floats(x.rows);
    keep->normed = c.workspace->NewRows(x.rows, x.cols);
    keep->gate = c.workspace->NewRows(x.rows, mlp_.gate->n());
    keep->up = c.workspace->NewRows(x.rows, mlp_.gate->n());
    keep->activated = c.workspace->NewRows(x.rows, mlp_.gate->n());
    c.backend->RmsNorm({x, norm_->value.f32(), eps_, keep->normed, keep->rstd});
    c.backend->Products({temper::Forward(*mlp_.gate, keep->normed, keep->gate, kWholeAxis, mlp_.gate_bias),
                         temper::Forward(*mlp_.up, keep->normed, keep->up, kWholeAxis, mlp_.up_bias)});
    c.backend->SwiGlu({keep->gate, keep->up, keep->activated});
    c.backend->Products({temper::Forward(*mlp_.down, keep->activated, y, kSplitAxis, mlp_.down_bias, x)});
    if (saved != nullptr) *saved = std::move(keep);
  }

  void Backward(const Context& c, const BatchView& batch, const Saved& saved, Matrix dy, Matrix dx) override {
    const auto& keep = static_cast<const SavedMlp&>(saved);
    Matrix dactivated = c.workspace->NewRows(dy.rows, mlp_.gate->n());
    Matrix dgate = c.workspace->NewRows(dy.rows, mlp_.gate->n());
    Matrix dup = c.workspace->NewRows(dy.rows, mlp_.gate->n());
    Matrix dnormed = c.workspace->NewRows(dy.rows, dy.cols);
    c.backend->Products({InputGradient(*mlp_.down, dy, dactivated, kWholeAxis)});
    c.backend->SwiGluBackward({dactivated, keep.gate, keep.up, dgate, dup});
    c.backend->WeightGradients({GradientOf(*mlp_.down, dy, keep.activated),
                                GradientOf(*mlp_.gate, dgate, keep.normed),
                                GradientOf(*mlp_.up, dup, keep.normed)});
    BiasGradients(c, mlp_, dy, dgate, dup);
    c.backend->Products({InputGradient(*mlp_.gate, dgate, dnormed, kSplitAxis)});
    c.backend->Products({InputGradient(*mlp_.up, dup, dnormed, kSplitAxis, dnormed)});
    c.backend->RmsNormBackward({.dy = dnormed,
                                .x = keep.x,
                                .weight = norm_->value.f32(),
                                .rstd = keep.rstd,
                                .add = dy,
                                .dx = dx,
                                .dweight = norm_->gradient.f32()});
  }

 private:
  const Weight* norm_;
  SwiGluWeights mlp_;
  float eps_;
};

}  // namespace

std::unique_ptr<Block> MakeDenseMlp(const ModelConfig& config, const WeightSource& weights, int64_t layer) {
  return std::make_unique<DenseMlp>(config, weights);
}

}  // namespace temper
