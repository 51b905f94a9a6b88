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
  Rows x, normed, q_down, q_normed, q, kv_down, key, q_latent, out_latent, out;
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

  void Forward(const Context& c, const BatchView& batch, Rows x, Rows y,
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
    ops::RmsNorm(c, x, norm_->data, eps_, keep->normed, keep->rstd);

    // Queries, through the low rank where there is one; the latent and the shared key.
    if (q_a_ != nullptr) {
      keep->q_rstd = space.Floats(rows);
      keep->q_down = space.NewRows(rows, q_a_->n);
      keep->q_normed = space.NewRows(rows, q_a_->n);
      ops::Products(c, {temper::Forward(*q_a_, keep->normed, keep->q_down, kWholeAxis, q_a_bias_),
                        temper::Forward(*kv_a_, keep->normed, keep->kv_down, kWholeAxis, kv_a_bias_)});
      ops::RmsNorm(c, keep->q_down, q_norm_->data, kLatentEps, keep->q_normed, keep->q_rstd);
      ops::Products(c, {temper::Forward(*q_b_, keep->q_normed, keep->q, kWholeAxis)});
    } else {
      ops::Products(c, {temper::Forward(*q_b_, keep->normed, keep->q, kWholeAxis),
                        temper::Forward(*kv_a_, keep->normed, keep->kv_down, kWholeAxis, kv_a_bias_)});
    }
    ops::RmsNorm(c, keep->kv_down.Columns(0, rank_), kv_norm_->data, kLatentEps, keep->key.Columns(0, rank_),
                 keep->kv_rstd);
    CopyRope(c, keep->kv_down, keep->key);
    Rotate(c, batch, keep->key.Columns(rank_, rope_), 1, rope_, false);

    // q W_UK for each head, then the rotated part behind it.
    std::vector<Product> products;
    for (int h = 0; h < heads_; ++h) {
      products.push_back(InputGradient(Up(h, /*value=*/false), QueryNope(keep->q, h),
                                       QueryLatent(keep->q_latent, h), kWholeAxis));
    }
    ops::Products(c, products);
    ops::CopyHeads(c, keep->q.data + nope_, keep->q.stride, nope_ + rope_, rows, heads_,
                   static_cast<int>(rope_), keep->q_latent.data + rank_, keep->q_latent.stride,
                   rank_ + rope_);
    Rotate(c, batch, keep->q_latent.Columns(rank_, keep->q_latent.cols - rank_), heads_, rank_ + rope_,
           false);

    ops::WriteBlocks(c, shape_, batch.sequences, keep->key, keep->key.Columns(0, rank_));
    ops::Attention(c, shape_, batch.sequences, keep->q_latent, keep->out_latent, keep->lse);
    products.clear();
    for (int h = 0; h < heads_; ++h) {
      products.push_back(temper::Forward(Up(h, /*value=*/true), keep->out_latent.Columns(h * rank_, rank_),
                                         keep->out.Columns(h * v_dim_, v_dim_), kWholeAxis));
    }
    ops::Products(c, products);
    ops::Products(c, {temper::Forward(*o_, keep->out, y, kSplitAxis, o_bias_, x)});
    if (saved != nullptr) *saved = std::move(keep);
  }

  void Backward(const Context& c, const BatchView& batch, const Saved& saved, Rows dy, Rows dx) override {
    const auto& keep = static_cast<const SavedLatent&>(saved);
    Workspace& space = *c.workspace;
    const int64_t rows = dy.rows;
    Rows dout = space.NewRows(rows, heads_ * v_dim_), dout_latent = space.NewRows(rows, heads_ * rank_);
    Rows dq_latent = space.NewRows(rows, heads_ * (rank_ + rope_)),
         dq = space.NewRows(rows, heads_ * (nope_ + rope_));
    Rows dkey = space.NewRows(rows, rank_ + rope_), dvalue = space.NewRows(rows, rank_);
    Rows dkv_down = space.NewRows(rows, rank_ + rope_), dnormed = space.NewRows(rows, dy.cols);

    // Out of the latent space.
    ops::Products(c, {InputGradient(*o_, dy, dout, kWholeAxis)});
    std::vector<Product> products;
    std::vector<WeightGradient> gradients = {GradientOf(*o_, dy, keep.out)};
    for (int h = 0; h < heads_; ++h) {
      Rows dhead = dout.Columns(h * v_dim_, v_dim_);
      products.push_back(
          InputGradient(Up(h, true), dhead, dout_latent.Columns(h * rank_, rank_), kWholeAxis));
      gradients.push_back(GradientOf(Up(h, true), dhead, keep.out_latent.Columns(h * rank_, rank_)));
    }
    ops::Products(c, products);
    ops::AttentionBackward(c, shape_, batch.sequences, keep.q_latent, keep.key, keep.key.Columns(0, rank_),
                           keep.out_latent, keep.lse, dout_latent, dq_latent, dkey, dvalue);
    ops::CopyHeads(c, dvalue.data, dvalue.stride, 0, rows, 1, static_cast<int>(rank_), dkey.data, dkey.stride,
                   0, /*add=*/true);

    // Queries back through W_UK and the rotation.
    Rotate(c, batch, dq_latent.Columns(rank_, dq_latent.cols - rank_), heads_, rank_ + rope_, true);
    products.clear();
    for (int h = 0; h < heads_; ++h) {
      Rows dhead = QueryLatent(dq_latent, h);
      products.push_back(temper::Forward(Up(h, false), dhead, QueryNope(dq, h), kWholeAxis));
      gradients.push_back(GradientOf(Up(h, false), QueryNope(keep.q, h), dhead));
    }
    ops::Products(c, products);
    ops::CopyHeads(c, dq_latent.data + rank_, dq_latent.stride, rank_ + rope_, rows, heads_,
                   static_cast<int>(rope_), dq.data + nope_, dq.stride, nope_ + rope_);

    // The latent through its norm, the shared key through its rotation.
    Rotate(c, batch, dkey.Columns(rank_, rope_), 1, rope_, true);
    ops::RmsNormBackward(c, dkey.Columns(0, rank_), keep.kv_down.Columns(0, rank_), kv_norm_->data,
                         keep.kv_rstd, Rows{}, dkv_down.Columns(0, rank_), kv_norm_->gradient);
    CopyRope(c, dkey, dkv_down);
    ops::Products(c, {InputGradient(*kv_a_, dkv_down, dnormed, kWholeAxis)});
    if (kv_a_bias_ != nullptr) ops::BiasGradient(c, dkv_down, kv_a_bias_->gradient);
    if (o_bias_ != nullptr) ops::BiasGradient(c, dy, o_bias_->gradient);
    gradients.push_back(GradientOf(*kv_a_, dkv_down, keep.normed));
    if (q_a_ != nullptr) {
      Rows dq_normed = space.NewRows(rows, q_a_->n), dq_down = space.NewRows(rows, q_a_->n);
      ops::Products(c, {InputGradient(*q_b_, dq, dq_normed, kSplitAxis)});
      gradients.push_back(GradientOf(*q_b_, dq, keep.q_normed));
      ops::RmsNormBackward(c, dq_normed, keep.q_down, q_norm_->data, keep.q_rstd, Rows{}, dq_down,
                           q_norm_->gradient);
      ops::Products(c, {InputGradient(*q_a_, dq_down, dnormed, kWholeAxis, dnormed)});
      if (q_a_bias_ != nullptr) ops::BiasGradient(c, dq_down, q_a_bias_->gradient);
      gradients.push_back(GradientOf(*q_a_, dq_down, keep.normed));
    } else {
      ops::Products(c, {InputGradient(*q_b_, dq, dnormed, kSplitAxis, dnormed)});
      gradients.push_back(GradientOf(*q_b_, dq, keep.normed));
    }
    ops::WeightGradients(c, gradients);
    ops::RmsNormBackward(c, dnormed, keep.x, norm_->data, keep.rstd, dy, dx, norm_->gradient);
  }

 private:
  // Head h's W_UK [nope, rank] or W_UV [v, rank] inside kv_b_proj.
  Weight Up(int h, bool value) const {
    const int64_t offset = (h * (nope_ + v_dim_) + (value ? nope_ : 0)) * rank_;
    Weight part;
    part.data = kv_b_->data + offset;
    part.n = value ? v_dim_ : nope_;
    part.k = rank_;
    part.gradient = kv_b_->gradient == nullptr ? nullptr : kv_b_->gradient + offset;
    return part;
  }
  Rows QueryNope(Rows q, int h) const { return q.Columns(h * (nope_ + rope_), nope_); }
  Rows QueryLatent(Rows q, int h) const { return q.Columns(h * (rank_ + rope_), rank_); }
  void CopyRope(const Context& c, Rows from, Rows to) const {
    ops::CopyHeads(c, from.data + rank_, from.stride, 0, from.rows, 1, static_cast<int>(rope_),
                   to.data + rank_, to.stride, 0);
  }
  void Rotate(const Context& c, const BatchView& batch, Rows rows, int heads, int64_t head_stride,
              bool inverse) const {
    ops::Rotary(c, rows, heads, head_stride, static_cast<int>(rope_), batch.positions.data(), batch.cosines,
                batch.sines, interleaved_, inverse);
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
