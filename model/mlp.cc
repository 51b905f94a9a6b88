// SPDX-License-Identifier: Apache-2.0
// The dense MLP: down(silu(gate(x)) * up(x)) (Shazeer 2020).
#include "model/mlp.h"

namespace temper {

SwiGluWeights FindSwiGlu(const WeightSource& weights, const std::string& prefix) {
  return {weights.Find(prefix + "gate_proj.weight"), weights.Find(prefix + "up_proj.weight"),
          weights.Find(prefix + "down_proj.weight"), weights.Find(prefix + "gate_proj.bias"),
          weights.Find(prefix + "up_proj.bias"),     weights.Find(prefix + "down_proj.bias")};
}

void BiasGradients(const Context& c, const SwiGluWeights& mlp, Rows ddown, Rows dgate, Rows dup) {
  if (mlp.down_bias == nullptr) return;
  ops::BiasGradient(c, ddown, mlp.down_bias->gradient);
  ops::BiasGradient(c, dgate, mlp.gate_bias->gradient);
  ops::BiasGradient(c, dup, mlp.up_bias->gradient);
}

namespace {

struct SavedMlp : Saved {
  Rows x, normed, gate, up, activated;
  float* rstd = nullptr;
};

class DenseMlp : public Block {
 public:
  DenseMlp(const ModelConfig& config, const WeightSource& weights)
      : norm_(weights.Find("post_attention_layernorm.weight")),
        mlp_(FindSwiGlu(weights, "mlp.")),
        eps_(config.rms_norm_eps) {}

  void Forward(const Context& c, const BatchView& batch, Rows x, Rows y,
               std::unique_ptr<Saved>* saved) override {
    auto keep = std::make_unique<SavedMlp>();
    keep->x = x;
    keep->rstd = c.workspace->Floats(x.rows);
    keep->normed = c.workspace->NewRows(x.rows, x.cols);
    keep->gate = c.workspace->NewRows(x.rows, mlp_.gate->n);
    keep->up = c.workspace->NewRows(x.rows, mlp_.gate->n);
    keep->activated = c.workspace->NewRows(x.rows, mlp_.gate->n);
    ops::RmsNorm(c, x, norm_->data, eps_, keep->normed, keep->rstd);
    ops::Products(c, {temper::Forward(*mlp_.gate, keep->normed, keep->gate, kWholeAxis, mlp_.gate_bias),
                      temper::Forward(*mlp_.up, keep->normed, keep->up, kWholeAxis, mlp_.up_bias)});
    ops::SwiGlu(c, keep->gate, keep->up, keep->activated);
    ops::Products(c, {temper::Forward(*mlp_.down, keep->activated, y, kSplitAxis, mlp_.down_bias, x)});
    if (saved != nullptr) *saved = std::move(keep);
  }

  void Backward(const Context& c, const BatchView& batch, const Saved& saved, Rows dy, Rows dx) override {
    const auto& keep = static_cast<const SavedMlp&>(saved);
    Rows dactivated = c.workspace->NewRows(dy.rows, mlp_.gate->n);
    Rows dgate = c.workspace->NewRows(dy.rows, mlp_.gate->n);
    Rows dup = c.workspace->NewRows(dy.rows, mlp_.gate->n);
    Rows dnormed = c.workspace->NewRows(dy.rows, dy.cols);
    ops::Products(c, {InputGradient(*mlp_.down, dy, dactivated, kWholeAxis)});
    ops::SwiGluBackward(c, dactivated, keep.gate, keep.up, dgate, dup);
    ops::WeightGradients(
        c, {GradientOf(*mlp_.down, dy, keep.activated), GradientOf(*mlp_.gate, dgate, keep.normed),
            GradientOf(*mlp_.up, dup, keep.normed)});
    BiasGradients(c, mlp_, dy, dgate, dup);
    ops::Products(c, {InputGradient(*mlp_.gate, dgate, dnormed, kSplitAxis)});
    ops::Products(c, {InputGradient(*mlp_.up, dup, dnormed, kSplitAxis, dnormed)});
    ops::RmsNormBackward(c, dnormed, keep.x, norm_->data, keep.rstd, dy, dx, norm_->gradient);
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
