// SPDX-License-Identifier: Apache-2.0
// Multi-head latent attention (DeepSeek-V2 report, section 2.1), always in its absorbed form: queries go into
// the latent space (q W_UK), attention runs over the cached latent and the shared rotated key, results come
// back through W_UV. One formula in decode and in training. kv_b_proj's rows are, head by head, W_UK [nope,
// rank] and then W_UV [v, rank].
#include <vector>

#include "model/across.h"
#include "model/blocks/shared_sequence.h"
#include "model/kv_cache.h"

namespace temper {
namespace {

using kernels::Product;

// DeepSeek's code and Transformers give these two norms 1e-6 whatever rms_norm_eps says.
constexpr float kLatentEps = 1e-6f;

struct SavedLatent : Saved {
  Matrix x, q_down, q, kv_down, q_latent, out_latent, out;
  Matrix key;  // of all ranks' positions, where they share a sequence
  float *rstd = nullptr, *q_rstd = nullptr, *kv_rstd = nullptr, *lse = nullptr;
};

class LatentAttention : public Block {
 public:
  LatentAttention(const ModelConfig& config, const WeightSource& weights, const LayerPlace& at)
      : norm_(weights, "input_layernorm", config.rms_norm_eps),
        q_a_(weights, "self_attn.q_a_proj", Cut::kNone),
        q_norm_(weights, "self_attn.q_a_layernorm", kLatentEps),
        q_b_(weights, config.q_lora_rank > 0 ? "self_attn.q_b_proj" : "self_attn.q_proj", Cut::kOutputs),
        kv_a_(weights, "self_attn.kv_a_proj_with_mqa", Cut::kNone),
        kv_norm_(weights, "self_attn.kv_a_layernorm", kLatentEps),
        kv_b_(weights, "self_attn.kv_b_proj", Cut::kNone),
        o_(weights, "self_attn.o_proj", Cut::kInputs),
        shape_(AttentionShapeOf(config, at.rank)),
        heads_(shape_.q_heads),
        nope_(config.qk_nope_head_dim),
        rope_(config.qk_rope_head_dim),
        rank_(config.kv_lora_rank),
        v_dim_(config.v_head_dim) {}

  void Forward(const Context& c, const BatchView& batch, Matrix x, Matrix y,
               std::unique_ptr<Saved>* saved) override {
    auto keep = std::make_unique<SavedLatent>();
    Workspace& space = *c.workspace;
    const int64_t rows = batch.rows();
    keep->x = x;
    keep->rstd = space.Floats(x.rows);
    keep->kv_rstd = space.Floats(rows);
    keep->kv_down = space.NewRows(rows, rank_ + rope_);
    keep->key = space.NewRows(rows, rank_ + rope_);
    keep->q = space.NewRows(rows, heads_ * (nope_ + rope_));
    keep->q_latent = space.NewRows(rows, heads_ * (rank_ + rope_));
    keep->out_latent = space.NewRows(rows, heads_ * rank_);
    keep->out = space.NewRows(rows, heads_ * v_dim_);
    keep->lse = saved == nullptr ? nullptr : space.Floats(rows * heads_);
    if (q_a_) {
      keep->q_rstd = space.Floats(rows);
      keep->q_down = space.NewRows(rows, q_a_.outputs());
    }

    // Queries, through the low rank where there is one; the latent and the shared key.
    const Workspace::Mark mark = space.Here();
    const Matrix normed = space.NewRows(rows, x.cols);
    norm_.Forward(c, x, OwnRows(c, normed), keep->rstd);
    GatherRows(c, normed);
    if (q_a_) {
      const Matrix q_normed = space.NewRows(rows, q_a_.outputs());
      c.backend->Products({q_a_.Forward(normed, keep->q_down), kv_a_.Forward(normed, keep->kv_down)});
      q_norm_.Forward(c, keep->q_down, q_normed, keep->q_rstd);
      c.backend->Products({q_b_.Forward(q_normed, keep->q)});
    } else {
      c.backend->Products({q_b_.Forward(normed, keep->q), kv_a_.Forward(normed, keep->kv_down)});
    }
    space.Release(mark);
    kv_norm_.Forward(c, keep->kv_down.Columns(0, rank_), keep->key.Columns(0, rank_), keep->kv_rstd);
    c.backend->Copy(SharedKey(keep->kv_down).rows, SharedKey(keep->key).rows);
    c.backend->Rotary(batch.Rotary(SharedKey(keep->key)));
    // The way back sees what attention sees.
    if (shape_.stored == kernels::Type::kBf16) c.backend->RoundToBf16(keep->key, keep->key);

    // q W_UK for each head, then the rotated part behind it.
    std::vector<Product> products;
    for (int h = 0; h < heads_; ++h) {
      products.push_back(
          Up(h, /*value=*/false).InputGradient(QueryNope(keep->q, h), QueryLatent(keep->q_latent, h)));
    }
    c.backend->Products(products);
    c.backend->CopyHeads(RotatedOf(keep->q, nope_), RotatedOf(keep->q_latent, rank_));
    c.backend->Rotary(batch.Rotary(RotatedOf(keep->q_latent, rank_)));

    keep->key = GatherPositions(c, batch, keep->key);
    c.backend->WriteBlocks(
        {shape_, batch.keys(), keep->key, keep->key.Columns(0, rank_), batch.layer_offset});
    c.backend->Attention(
        {shape_, batch.sequences, keep->q_latent, keep->out_latent, keep->lse, batch.layer_offset});
    products.clear();
    for (int h = 0; h < heads_; ++h) {
      products.push_back(
          Up(h, /*value=*/true)
              .Forward(keep->out_latent.Columns(h * rank_, rank_), keep->out.Columns(h * v_dim_, v_dim_)));
    }
    c.backend->Products(products);
    if (y) o_.Apply(c, keep->out, y, x);
    if (saved != nullptr) *saved = std::move(keep);
  }

  void Backward(const Context& c, const BatchView& batch, const Saved& saved, Matrix dy, Matrix dx) override {
    const auto& keep = static_cast<const SavedLatent&>(saved);
    Workspace& space = *c.workspace;
    const int64_t rows = batch.rows();
    Matrix dout = space.NewRows(rows, heads_ * v_dim_), dout_latent = space.NewRows(rows, heads_ * rank_);
    Matrix dq_latent = space.NewRows(rows, heads_ * (rank_ + rope_)),
           dq = space.NewRows(rows, heads_ * (nope_ + rope_));
    // One behind the other, so that ranks with different heads add them up in one message.
    const Matrix dkeys = space.NewRows(1, rows * (rank_ + rope_ + rank_));
    const Matrix dkey = kernels::F32(dkeys.f32(), rows, rank_ + rope_),
                 dvalue = kernels::F32(dkeys.f32() + rows * (rank_ + rope_), rows, rank_);
    Matrix dkv_down = space.NewRows(rows, rank_ + rope_), dnormed = space.NewRows(dy.rows, dy.cols);
    Matrix normed = space.NewRows(rows, dy.cols);
    norm_.Forward(c, keep.x, OwnRows(c, normed), nullptr);
    GatherRows(c, normed);

    // Out of the latent space.
    Backprop back(c);
    back.Through({{o_, AllRows(c, dy, rows)}}, keep.out, dout);
    back.Inputs();
    for (int h = 0; h < heads_; ++h) {
      back.Through({{Up(h, /*value=*/true), dout.Columns(h * v_dim_, v_dim_)}},
                   keep.out_latent.Columns(h * rank_, rank_), dout_latent.Columns(h * rank_, rank_));
    }
    back.Inputs();
    AttentionBackwardAcross(c, batch,
                            {.shape = shape_,
                             .sequences = batch.sequences,
                             .q = keep.q_latent,
                             .k = keep.key,
                             .v = keep.key.Columns(0, rank_),
                             .out = keep.out_latent,
                             .lse = keep.lse,
                             .dout = dout_latent,
                             .dq = dq_latent,
                             .dk = dkey,
                             .dv = dvalue,
                             .ranges = kernels::kHeadRanges * heads_ / shape_.all_heads});
    SumAcross(c, dkeys);
    c.backend->Add(dvalue, dkey.Columns(0, rank_));

    // Queries back through W_UK and the rotation.
    c.backend->Rotary(batch.Rotary(RotatedOf(dq_latent, rank_), /*inverse=*/true));
    std::vector<Product> products;
    for (int h = 0; h < heads_; ++h) {
      const Linear up = Up(h, /*value=*/false);
      products.push_back(up.Forward(QueryLatent(dq_latent, h), QueryNope(dq, h)));
      back.Weight(up, QueryNope(keep.q, h), QueryLatent(dq_latent, h));
    }
    c.backend->Products(products);
    c.backend->CopyHeads(RotatedOf(dq_latent, rank_), RotatedOf(dq, nope_));

    // The latent through its norm, the shared key through its rotation.
    c.backend->Rotary(batch.Rotary(SharedKey(dkey), /*inverse=*/true));
    kv_norm_.Backward(c, {dkey.Columns(0, rank_), keep.kv_down.Columns(0, rank_), keep.kv_rstd,
                          dkv_down.Columns(0, rank_)});
    c.backend->Copy(SharedKey(dkey).rows, SharedKey(dkv_down).rows);
    if (q_a_) {
      Matrix dq_normed = space.NewRows(rows, q_a_.outputs()), dq_down = space.NewRows(rows, q_a_.outputs());
      Matrix q_normed = space.NewRows(rows, q_a_.outputs());
      q_norm_.Forward(c, keep.q_down, q_normed, nullptr);
      back.Through({{q_b_, dq}}, q_normed, dq_normed);
      back.Inputs();
      q_norm_.Backward(c, {dq_normed, keep.q_down, keep.q_rstd, dq_down});
      back.ThroughOwn({{kv_a_, dkv_down}, {q_a_, dq_down}}, normed, dnormed);
    } else {
      back.ThroughOwn({{kv_a_, dkv_down}, {q_b_, dq}}, normed, dnormed);
    }
    back.Inputs();
    back.Weights();
    norm_.Backward(c, {dnormed, keep.x, keep.rstd, dx, /*add=*/dy, /*own=*/true});
  }

 private:
  // Head h's W_UK [nope, rank] or W_UV [v, rank] inside kv_b_proj.
  Linear Up(int h, bool value) const {
    return kv_b_.Outputs(h * (nope_ + v_dim_) + (value ? nope_ : 0), value ? v_dim_ : nope_);
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

  Norm norm_;
  Linear q_a_;  // none: queries take no low rank
  Norm q_norm_;
  Linear q_b_, kv_a_;
  Norm kv_norm_;
  Linear kv_b_, o_;
  kernels::AttentionShape shape_;
  int heads_;
  int64_t nope_, rope_, rank_, v_dim_;
};

}  // namespace

std::unique_ptr<Block> MakeLatentAttention(const ModelConfig& config, const WeightSource& weights,
                                           const LayerPlace& at) {
  return std::make_unique<LatentAttention>(config, weights, at);
}

}  // namespace temper
