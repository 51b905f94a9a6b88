// SPDX-License-Identifier: Apache-2.0
// Grouped-query attention with rotary embedding (Llama, Mistral, Qwen2, Qwen3).
#include "model/blocks.h"
#include "model/kv_cache.h"

namespace temper {
namespace {

struct SavedAttention : Saved {
  Rows x, normed, q, k, v, out;
  Rows q_raw, k_raw;  // before their norms, where there are such
  float *rstd = nullptr, *q_rstd = nullptr, *k_rstd = nullptr, *lse = nullptr;
};

class GroupedAttention : public Block {
 public:
  GroupedAttention(const ModelConfig& config, const WeightSource& weights, int64_t layer)
      : norm_(weights.Find("input_layernorm.weight")),
        q_(weights.Find("self_attn.q_proj.weight")),
        k_(weights.Find("self_attn.k_proj.weight")),
        v_(weights.Find("self_attn.v_proj.weight")),
        o_(weights.Find("self_attn.o_proj.weight")),
        q_bias_(weights.Find("self_attn.q_proj.bias")),
        k_bias_(weights.Find("self_attn.k_proj.bias")),
        v_bias_(weights.Find("self_attn.v_proj.bias")),
        o_bias_(weights.Find("self_attn.o_proj.bias")),
        q_norm_(weights.Find("self_attn.q_norm.weight")),
        k_norm_(weights.Find("self_attn.k_norm.weight")),
        shape_(AttentionShapeOf(config)),
        interleaved_(config.rope_interleaved),
        eps_(config.rms_norm_eps) {
    shape_.window = config.window(layer);
  }

  void Forward(const Context& c, const BatchView& batch, Rows x, Rows y,
               std::unique_ptr<Saved>* saved) override {
    auto keep = std::make_unique<SavedAttention>();
    Workspace& space = *c.workspace;
    keep->x = x;
    keep->rstd = space.Floats(x.rows);
    keep->normed = space.NewRows(x.rows, x.cols);
    keep->q = space.NewRows(x.rows, q_->n);
    keep->k = space.NewRows(x.rows, k_->n);
    keep->v = space.NewRows(x.rows, v_->n);
    keep->out = space.NewRows(x.rows, o_->k);
    keep->lse = saved == nullptr ? nullptr : space.Floats(x.rows * shape_.q_heads);
    ops::RmsNorm(c, x, norm_->data, eps_, keep->normed, keep->rstd);
    keep->q_raw = q_norm_ == nullptr ? keep->q : space.NewRows(x.rows, q_->n);
    keep->k_raw = q_norm_ == nullptr ? keep->k : space.NewRows(x.rows, k_->n);
    ops::Products(c, {temper::Forward(*q_, keep->normed, keep->q_raw, kWholeAxis, q_bias_),
                      temper::Forward(*k_, keep->normed, keep->k_raw, kWholeAxis, k_bias_),
                      temper::Forward(*v_, keep->normed, keep->v, kWholeAxis, v_bias_)});
    if (q_norm_ != nullptr) {
      keep->q_rstd = space.Floats(x.rows * shape_.q_heads);
      keep->k_rstd = space.Floats(x.rows * shape_.kv_heads);
      ops::RmsNorm(c, Heads(keep->q_raw), q_norm_->data, eps_, Heads(keep->q), keep->q_rstd);
      ops::RmsNorm(c, Heads(keep->k_raw), k_norm_->data, eps_, Heads(keep->k), keep->k_rstd);
    }
    Rotate(c, batch, keep->q, shape_.q_heads, false);
    Rotate(c, batch, keep->k, shape_.kv_heads, false);
    ops::WriteBlocks(c, shape_, batch.sequences, keep->k, keep->v);
    ops::Attention(c, shape_, batch.sequences, keep->q, keep->out, keep->lse);
    ops::Products(c, {temper::Forward(*o_, keep->out, y, kSplitAxis, o_bias_, x)});
    if (saved != nullptr) *saved = std::move(keep);
  }

  void Backward(const Context& c, const BatchView& batch, const Saved& saved, Rows dy, Rows dx) override {
    const auto& keep = static_cast<const SavedAttention&>(saved);
    Workspace& space = *c.workspace;
    Rows dout = space.NewRows(dy.rows, o_->k);
    Rows dq = space.NewRows(dy.rows, q_->n), dk = space.NewRows(dy.rows, k_->n),
         dv = space.NewRows(dy.rows, v_->n);
    Rows dnormed = space.NewRows(dy.rows, dy.cols);
    ops::Products(c, {InputGradient(*o_, dy, dout, kWholeAxis)});
    ops::AttentionBackward(c, shape_, batch.sequences, keep.q, keep.k, keep.v, keep.out, keep.lse, dout, dq,
                           dk, dv);
    Rotate(c, batch, dq, shape_.q_heads, true);
    Rotate(c, batch, dk, shape_.kv_heads, true);
    if (q_norm_ != nullptr) {
      // Each dx row follows from its own dy row, which it may overwrite.
      ops::RmsNormBackward(c, Heads(dq), Heads(keep.q_raw), q_norm_->data, keep.q_rstd, Rows{}, Heads(dq),
                           q_norm_->gradient);
      ops::RmsNormBackward(c, Heads(dk), Heads(keep.k_raw), k_norm_->data, keep.k_rstd, Rows{}, Heads(dk),
                           k_norm_->gradient);
    }
    ops::WeightGradients(c, {GradientOf(*o_, dy, keep.out), GradientOf(*q_, dq, keep.normed),
                             GradientOf(*k_, dk, keep.normed), GradientOf(*v_, dv, keep.normed)});
    if (o_bias_ != nullptr) ops::BiasGradient(c, dy, o_bias_->gradient);
    if (q_bias_ != nullptr) {
      ops::BiasGradient(c, dq, q_bias_->gradient);
      ops::BiasGradient(c, dk, k_bias_->gradient);
      ops::BiasGradient(c, dv, v_bias_->gradient);
    }
    ops::Products(c, {InputGradient(*q_, dq, dnormed, kSplitAxis)});
    ops::Products(c, {InputGradient(*k_, dk, dnormed, kSplitAxis, dnormed)});
    ops::Products(c, {InputGradient(*v_, dv, dnormed, kSplitAxis, dnormed)});
    ops::RmsNormBackward(c, dnormed, keep.x, norm_->data, keep.rstd, dy, dx, norm_->gradient);
  }

 private:
  // The heads of all tokens as rows of their own, token by token.
  Rows Heads(Rows rows) const {
    return {rows.data, rows.rows * (rows.cols / shape_.qk_dim), shape_.qk_dim, shape_.qk_dim};
  }
  void Rotate(const Context& c, const BatchView& batch, Rows rows, int heads, bool inverse) const {
    ops::Rotary(c, rows, heads, shape_.qk_dim, shape_.qk_dim, batch.positions.data(), batch.cosines,
                batch.sines, interleaved_, inverse);
  }

  const Weight *norm_, *q_, *k_, *v_, *o_, *q_bias_, *k_bias_, *v_bias_, *o_bias_, *q_norm_, *k_norm_;
  kernels::AttentionShape shape_;
  bool interleaved_;
  float eps_;
};

}  // namespace

std::unique_ptr<Block> MakeGroupedAttention(const ModelConfig& config, const WeightSource& weights,
                                            int64_t layer) {
  return std::make_unique<GroupedAttention>(config, weights, layer);
}

}  // namespace temper
