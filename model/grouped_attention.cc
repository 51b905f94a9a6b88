// SPDX-License-Identifier: Apache-2.0
// Grouped-query attention with rotary embedding (Llama, Mistral, Qwen2, Qwen3).
#include "model/blocks.h"
#include "model/kv_cache.h"

namespace temper {
namespace {

struct SavedAttention : Saved {
  Matrix x, normed, q, k, v, out;
  Matrix q_raw, k_raw;  // before their norms, where there are such
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

  void Forward(const Context& c, const BatchView& batch, Matrix x, Matrix y,
               std::unique_ptr<Saved>* saved) override {
    auto keep = std::make_unique<SavedAttention>();
    Workspace& space = *c.workspace;
    keep->x = x;
    keep->rstd = space.Floats(x.rows);
    keep->normed = space.NewRows(x.rows, x.cols);
    keep->q = space.NewRows(x.rows, q_->n());
    keep->k = space.NewRows(x.rows, k_->n());
    keep->v = space.NewRows(x.rows, v_->n());
    keep->out = space.NewRows(x.rows, o_->k());
    keep->lse = saved == nullptr ? nullptr : space.Floats(x.rows * shape_.q_heads);
    c.backend->RmsNorm({x, norm_->value.f32(), eps_, keep->normed, keep->rstd});
    keep->q_raw = q_norm_ == nullptr ? keep->q : space.NewRows(x.rows, q_->n());
    keep->k_raw = q_norm_ == nullptr ? keep->k : space.NewRows(x.rows, k_->n());
    c.backend->Products({temper::Forward(*q_, keep->normed, keep->q_raw, kWholeAxis, q_bias_),
                         temper::Forward(*k_, keep->normed, keep->k_raw, kWholeAxis, k_bias_),
                         temper::Forward(*v_, keep->normed, keep->v, kWholeAxis, v_bias_)});
    if (q_norm_ != nullptr) {
      keep->q_rstd = space.Floats(x.rows * shape_.q_heads);
      keep->k_rstd = space.Floats(x.rows * shape_.kv_heads);
      c.backend->RmsNorm({Heads(keep->q_raw), q_norm_->value.f32(), eps_, Heads(keep->q), keep->q_rstd});
      c.backend->RmsNorm({Heads(keep->k_raw), k_norm_->value.f32(), eps_, Heads(keep->k), keep->k_rstd});
    }
    Rotate(c, batch, keep->q, shape_.q_heads, false);
    Rotate(c, batch, keep->k, shape_.kv_heads, false);
    c.backend->WriteBlocks({shape_, batch.sequences, keep->k, keep->v});
    c.backend->Attention({shape_, batch.sequences, keep->q, keep->out, keep->lse});
    c.backend->Products({temper::Forward(*o_, keep->out, y, kSplitAxis, o_bias_, x)});
    if (saved != nullptr) *saved = std::move(keep);
  }

  void Backward(const Context& c, const BatchView& batch, const Saved& saved, Matrix dy, Matrix dx) override {
    const auto& keep = static_cast<const SavedAttention&>(saved);
    Workspace& space = *c.workspace;
    Matrix dout = space.NewRows(dy.rows, o_->k());
    Matrix dq = space.NewRows(dy.rows, q_->n()), dk = space.NewRows(dy.rows, k_->n()),
           dv = space.NewRows(dy.rows, v_->n());
    Matrix dnormed = space.NewRows(dy.rows, dy.cols);
    c.backend->Products({InputGradient(*o_, dy, dout, kWholeAxis)});
    c.backend->AttentionBackward({.shape = shape_,
                                  .sequences = batch.sequences,
                                  .q = keep.q,
                                  .k = keep.k,
                                  .v = keep.v,
                                  .out = keep.out,
                                  .lse = keep.lse,
                                  .dout = dout,
                                  .dq = dq,
                                  .dk = dk,
                                  .dv = dv});
    Rotate(c, batch, dq, shape_.q_heads, true);
    Rotate(c, batch, dk, shape_.kv_heads, true);
    if (q_norm_ != nullptr) {
      // Each dx row follows from its own dy row, which it may overwrite.
      c.backend->RmsNormBackward({.dy = Heads(dq),
                                  .x = Heads(keep.q_raw),
                                  .weight = q_norm_->value.f32(),
                                  .rstd = keep.q_rstd,
                                  .dx = Heads(dq),
                                  .dweight = q_norm_->gradient.f32()});
      c.backend->RmsNormBackward({.dy = Heads(dk),
                                  .x = Heads(keep.k_raw),
                                  .weight = k_norm_->value.f32(),
                                  .rstd = keep.k_rstd,
                                  .dx = Heads(dk),
                                  .dweight = k_norm_->gradient.f32()});
    }
    c.backend->WeightGradients({GradientOf(*o_, dy, keep.out), GradientOf(*q_, dq, keep.normed),
                                GradientOf(*k_, dk, keep.normed), GradientOf(*v_, dv, keep.normed)});
    if (o_bias_ != nullptr) c.backend->BiasGradient(dy, o_bias_->gradient.f32());
    if (q_bias_ != nullptr) {
      c.backend->BiasGradient(dq, q_bias_->gradient.f32());
      c.backend->BiasGradient(dk, k_bias_->gradient.f32());
      c.backend->BiasGradient(dv, v_bias_->gradient.f32());
    }
    c.backend->Products({InputGradient(*q_, dq, dnormed, kSplitAxis)});
    c.backend->Products({InputGradient(*k_, dk, dnormed, kSplitAxis, dnormed)});
    c.backend->Products({InputGradient(*v_, dv, dnormed, kSplitAxis, dnormed)});
    c.backend->RmsNormBackward({.dy = dnormed,
                                .x = keep.x,
                                .weight = norm_->value.f32(),
                                .rstd = keep.rstd,
                                .add = dy,
                                .dx = dx,
                                .dweight = norm_->gradient.f32()});
  }

 private:
  // The heads of all tokens as rows of their own, token by token.
  Matrix Heads(Matrix rows) const {
    return kernels::F32(rows.f32(), rows.rows * (rows.cols / shape_.qk_dim), shape_.qk_dim);
  }
  void Rotate(const Context& c, const BatchView& batch, Matrix rows, int heads, bool inverse) const {
    c.backend->Rotary({.x = {rows, heads, shape_.qk_dim, shape_.qk_dim},
                       .positions = batch.positions.data(),
                       .cosines = batch.cosines,
                       .sines = batch.sines,
                       .interleaved = interleaved_,
                       .inverse = inverse});
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
