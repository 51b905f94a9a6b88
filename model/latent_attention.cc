// SPDX-License-Identifier: Apache-2.0
// Multi-head latent attention (DeepSeek-V2 report, section 2.1), always in its absorbed form: queries go into
// the latent space (q W_UK), attention runs over the cached latent and the shared rotated key, results come
// back through W_UV. One formula in decode and in training. kv_b_proj's rows are, head by head, W_UK [nope,
// rank] and then W_UV [v, rank].
#include <vector>

#include "model/blocks.h"
#include "model/kv_cache.h"

namespace temper {
namespace {

using kernels::Product;
using kernels::WeightGradient;

// DeepSeek's code and Transformers give these two norms 1e-6 whatever rms_norm_eps says.
constexpr float kLatentEps = 1e-6f;

struct SavedLatent : Saved {
  Matrix x, normed, q_down, q_normed, q, kv_down, key, q_latent, out_latent, out;
  float *rstd = nullptr, *q_rstd = nullptr, *kv_rstd = nullptr, *lse = nullptr;
};

class LatentAttention : public Block {
 public:
  LatentAttention(const ModelConfig& config, const WeightSource& weights)
      : norm_(weights.Find("input_layernorm.weight")),
        q_a_(weights.Find("self_attn.q_a_proj.weight")),
        q_norm_(weights.Find("self_attn.q_a_layernorm.weight")),
        q_b_(weights.Find(config.q_lora_rank > 0 ? "self_attn.q_b_proj.weight" : "self_attn.q_proj.weight")),
        kv_a_(weights.Find("self_attn.kv_a_proj_with_mqa.weight")),
        kv_norm_(weights.Find("self_attn.kv_a_layernorm.weight")),
        kv_b_(weights.Find("self_attn.kv_b_proj.weight")),
        o_(weights.Find("self_attn.o_proj.weight")),
        q_a_bias_(weights.Find("self_attn.q_a_proj.bias")),
        kv_a_bias_(weights.Find("self_attn.kv_a_proj_with_mqa.bias")),
        o_bias_(weights.Find("self_attn.o_proj.bias")),
        shape_(AttentionShapeOf(config)),
        heads_(static_cast<int>(config.num_heads)),
        nope_(config.qk_nope_head_dim),
        rope_(config.qk_rope_head_dim),
        rank_(config.kv_lora_rank),
        v_dim_(config.v_head_dim),
        interleaved_(config.rope_interleaved),
        eps_(config.rms_norm_eps) {}

  void Forward(const Context& c, const BatchView& batch, Matrix x, Matrix y,
               std::unique_ptr<Saved>* saved) override {
    auto keep = std::make_unique<SavedLatent>();
    Workspace& space = *c.workspace;
    const int64_t rows = x.rows;
    keep->x = x;
    keep->rstd = space.Floats(rows);
    keep->kv_rstd = space.Floats(rows);
    keep->normed = space.NewRows(rows, x.cols);
    keep->kv_down = space.NewRows(rows, rank_ + rope_);
    keep->key = space.NewRows(rows, rank_ + rope_);
    keep->q = space.NewRows(rows, heads_ * (nope_ + rope_));
    keep->q_latent = space.NewRows(rows, heads_ * (rank_ + rope_));
    keep->out_latent = space.NewRows(rows, heads_ * rank_);
    keep->out = space.NewRows(rows, heads_ * v_dim_);
    keep->lse = saved == nullptr ? nullptr : space.Floats(rows * heads_);
    c.backend->RmsNorm({x, norm_->value.f32(), eps_, keep->normed, keep->rstd});

    // Queries, through the low rank where there is one; the latent and the shared key.
    if (q_a_ != nullptr) {
      keep->q_rstd = space.Floats(rows);
      keep->q_down = space.NewRows(rows, q_a_->n());
      keep->q_normed = space.NewRows(rows, q_a_->n());
      c.backend->Products({temper::Forward(*q_a_, keep->normed, keep->q_down, kWholeAxis, q_a_bias_),
                           temper::Forward(*kv_a_, keep->normed, keep->kv_down, kWholeAxis, kv_a_bias_)});
      c.backend->RmsNorm({keep->q_down, q_norm_->value.f32(), kLatentEps, keep->q_normed, keep->q_rstd});
      c.backend->Products({temper::Forward(*q_b_, keep->q_normed, keep->q, kWholeAxis)});
    } else {
      c.backend->Products({temper::Forward(*q_b_, keep->normed, keep->q, kWholeAxis),
                           temper::Forward(*kv_a_, keep->normed, keep->kv_down, kWholeAxis, kv_a_bias_)});
    }
    c.backend->RmsNorm({keep->kv_down.Columns(0, rank_), kv_norm_->value.f32(), kLatentEps,
                        keep->key.Columns(0, rank_), keep->kv_rstd});
    c.backend->Copy(SharedKey(keep->kv_down).rows, SharedKey(keep->key).rows);
    Rotate(c, batch, SharedKey(keep->key), false);

    // q W_UK for each head, then the rotated part behind it.
    std::vector<Product> products;
    for (int h = 0; h < heads_; ++h) {
      products.push_back(InputGradient(Up(h, /*value=*/false), QueryNope(keep->q, h),
                                       QueryLatent(keep->q_latent, h), kWholeAxis));
    }
    c.backend->Products(products);
    c.backend->CopyHeads(RotatedOf(keep->q, nope_), RotatedOf(keep->q_latent, rank_));
    Rotate(c, batch, RotatedOf(keep->q_latent, rank_), false);

    c.backend->WriteBlocks({shape_, batch.sequences, keep->key, keep->key.Columns(0, rank_)});
    c.backend->Attention({shape_, batch.sequences, keep->q_latent, keep->out_latent, keep->lse});
    products.clear();
    for (int h = 0; h < heads_; ++h) {
      products.push_back(temper::Forward(Up(h, /*value=*/true), keep->out_latent.Columns(h * rank_, rank_),
                                         keep->out.Columns(h * v_dim_, v_dim_), kWholeAxis));
    }
    c.backend->Products(products);
    c.backend->Products({temper::Forward(*o_, keep->out, y, kSplitAxis, o_bias_, x)});
    if (saved != nullptr) *saved = std::move(keep);
  }

  void Backward(const Context& c, const BatchView& batch, const Saved& saved, Matrix dy, Matrix dx) override {
    const auto& keep = static_cast<const SavedLatent&>(saved);
    Workspace& space = *c.workspace;
    const int64_t rows = dy.rows;
    Matrix dout = space.NewRows(rows, heads_ * v_dim_), dout_latent = space.NewRows(rows, heads_ * rank_);
    Matrix dq_latent = space.NewRows(rows, heads_ * (rank_ + rope_)),
           dq = space.NewRows(rows, heads_ * (nope_ + rope_));
    Matrix dkey = space.NewRows(rows, rank_ + rope_), dvalue = space.NewRows(rows, rank_);
    Matrix dkv_down = space.NewRows(rows, rank_ + rope_), dnormed = space.NewRows(rows, dy.cols);

    // Out of the latent space.
    c.backend->Products({InputGradient(*o_, dy, dout, kWholeAxis)});
    std::vector<Product> products;
    std::vector<WeightGradient> gradients = {GradientOf(*o_, dy, keep.out)};
    for (int h = 0; h < heads_; ++h) {
      Matrix dhead = dout.Columns(h * v_dim_, v_dim_);
      products.push_back(
          InputGradient(Up(h, true), dhead, dout_latent.Columns(h * rank_, rank_), kWholeAxis));
      gradients.push_back(GradientOf(Up(h, true), dhead, keep.out_latent.Columns(h * rank_, rank_)));
    }
    c.backend->Products(products);
    c.backend->AttentionBackward({.shape = shape_,
                                  .sequences = batch.sequences,
                                  .q = keep.q_latent,
                                  .k = keep.key,
                                  .v = keep.key.Columns(0, rank_),
                                  .out = keep.out_latent,
                                  .lse = keep.lse,
                                  .dout = dout_latent,
                                  .dq = dq_latent,
                                  .dk = dkey,
                                  .dv = dvalue});
    c.backend->Add(dvalue, dkey.Columns(0, rank_));

    // Queries back through W_UK and the rotation.
    Rotate(c, batch, RotatedOf(dq_latent, rank_), true);
    products.clear();
    for (int h = 0; h < heads_; ++h) {
      Matrix dhead = QueryLatent(dq_latent, h);
      products.push_back(temper::Forward(Up(h, false), dhead, QueryNope(dq, h), kWholeAxis));
      gradients.push_back(GradientOf(Up(h, false), QueryNope(keep.q, h), dhead));
    }
    c.backend->Products(products);
    c.backend->CopyHeads(RotatedOf(dq_latent, rank_), RotatedOf(dq, nope_));

    // The latent through its norm, the shared key through its rotation.
    Rotate(c, batch, SharedKey(dkey), true);
    c.backend->RmsNormBackward({.dy = dkey.Columns(0, rank_),
                                .x = keep.kv_down.Columns(0, rank_),
                                .weight = kv_norm_->value.f32(),
                                .rstd = keep.kv_rstd,
                                .dx = dkv_down.Columns(0, rank_),
                                .dweight = kv_norm_->gradient.f32()});
    c.backend->Copy(SharedKey(dkey).rows, SharedKey(dkv_down).rows);
    c.backend->Products({InputGradient(*kv_a_, dkv_down, dnormed, kWholeAxis)});
    if (kv_a_bias_ != nullptr) c.backend->BiasGradient(dkv_down, kv_a_bias_->gradient.f32());
    if (o_bias_ != nullptr) c.backend->BiasGradient(dy, o_bias_->gradient.f32());
    gradients.push_back(GradientOf(*kv_a_, dkv_down, keep.normed));
    if (q_a_ != nullptr) {
      Matrix dq_normed = space.NewRows(rows, q_a_->n()), dq_down = space.NewRows(rows, q_a_->n());
      c.backend->Products({InputGradient(*q_b_, dq, dq_normed, kSplitAxis)});
      gradients.push_back(GradientOf(*q_b_, dq, keep.q_normed));
      c.backend->RmsNormBackward({.dy = dq_normed,
                                  .x = keep.q_down,
                                  .weight = q_norm_->value.f32(),
                                  .rstd = keep.q_rstd,
                                  .dx = dq_down,
                                  .dweight = q_norm_->gradient.f32()});
      c.backend->Products({InputGradient(*q_a_, dq_down, dnormed, kWholeAxis, dnormed)});
      if (q_a_bias_ != nullptr) c.backend->BiasGradient(dq_down, q_a_bias_->gradient.f32());
      gradients.push_back(GradientOf(*q_a_, dq_down, keep.normed));
    } else {
      c.backend->Products({InputGradient(*q_b_, dq, dnormed, kSplitAxis, dnormed)});
      gradients.push_back(GradientOf(*q_b_, dq, keep.normed));
    }
    c.backend->WeightGradients(gradients);
    c.backend->RmsNormBackward({.dy = dnormed,
                                .x = keep.x,
                                .weight = norm_->value.f32(),
                                .rstd = keep.rstd,
                                .add = dy,
                                .dx = dx,
                                .dweight = norm_->gradient.f32()});
  }

 private:
  // Head h's W_UK [nope, rank] or W_UV [v, rank] inside kv_b_proj.
  Weight Up(int h, bool value) const {
    const int64_t first = h * (nope_ + v_dim_) + (value ? nope_ : 0), count = value ? v_dim_ : nope_;
    return {.value = kv_b_->value.Rows(first, count), .gradient = kv_b_->gradient.Rows(first, count)};
  }
  Matrix QueryNope(Matrix q, int h) const { return q.Columns(h * (nope_ + rope_), nope_); }
  Matrix QueryLatent(Matrix q, int h) const { return q.Columns(h * (rank_ + rope_), rank_); }
  // The part of each head that is rotated, behind `before` others.
  kernels::Heads RotatedOf(Matrix q, int64_t before) const {
    return {q.Columns(before, q.cols - before), heads_, static_cast<int>(rope_), before + rope_};
  }
  // The same of the key, which all heads share.
  kernels::Heads SharedKey(Matrix key) const {
    return {key.Columns(rank_, rope_), 1, static_cast<int>(rope_), rope_};
  }
  void Rotate(const Context& c, const BatchView& batch, const kernels::Heads& x, bool inverse) const {
    c.backend->Rotary({.x = x,
                       .positions = batch.positions.data(),
                       .cosines = batch.cosines,
                       .sines = batch.sines,
                       .interleaved = interleaved_,
                       .inverse = inverse});
  }

  const Weight *norm_, *q_a_, *q_norm_, *q_b_, *kv_a_, *kv_norm_, *kv_b_, *o_, *q_a_bias_, *kv_a_bias_,
      *o_bias_;
  kernels::AttentionShape shape_;
  int heads_;
  int64_t nope_, rope_, rank_, v_dim_;
  bool interleaved_;
  float eps_;
};

}  // namespace

std::unique_ptr<Block> MakeLatentAttention(const ModelConfig& config, const WeightSource& weights,
                                           int64_t layer) {
  return std::make_unique<LatentAttention>(config, weights);
}

}  // namespace temper
