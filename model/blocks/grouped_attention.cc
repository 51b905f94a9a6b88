// SPDX-License-Identifier: Apache-2.0
// Grouped-query attention with rotary embedding (Llama, Mistral, Qwen2, Qwen3).
#include "model/across.h"
#include "model/blocks/shared_sequence.h"
#include "model/kv_cache.h"

namespace temper {
namespace {

struct SavedAttention : Saved {
  Matrix x, q, k, v, out;  // k and v: of all ranks' positions, where they share a sequence
  Matrix q_raw, k_raw;     // before their norms, where there are such
  float *rstd = nullptr, *q_rstd = nullptr, *k_rstd = nullptr, *lse = nullptr;
};

class GroupedAttention : public Block {
 public:
  GroupedAttention(const ModelConfig& config, const WeightSource& weights, const LayerPlace& at)
      : norm_(weights, "input_layernorm", config.rms_norm_eps),
        q_(weights, "self_attn.q_proj", Cut::kOutputs),
        k_(weights, "self_attn.k_proj", Cut::kOutputs),
        v_(weights, "self_attn.v_proj", Cut::kOutputs),
        o_(weights, "self_attn.o_proj", Cut::kInputs),
        q_norm_(weights, "self_attn.q_norm", config.rms_norm_eps),
        k_norm_(weights, "self_attn.k_norm", config.rms_norm_eps),
        shape_(AttentionShapeOf(config, at.rank)) {
    shape_.window = config.window(at.layer);
  }

  void Forward(const Context& c, const BatchView& batch, Matrix x, Matrix y,
               std::unique_ptr<Saved>* saved) override {
    auto keep = std::make_unique<SavedAttention>();
    Workspace& space = *c.workspace;
    const int64_t rows = batch.rows();
    keep->x = x;
    keep->rstd = space.Floats(x.rows);
    keep->q = space.NewRows(rows, q_.outputs());
    keep->k = space.NewRows(rows, k_.outputs());
    keep->v = space.NewRows(rows, v_.outputs());
    keep->out = space.NewRows(rows, o_.inputs());
    keep->lse = saved == nullptr ? nullptr : space.Floats(rows * shape_.q_heads);
    keep->q_raw = !q_norm_ ? keep->q : space.NewRows(rows, q_.outputs());
    keep->k_raw = !q_norm_ ? keep->k : space.NewRows(rows, k_.outputs());
    if (q_norm_) {
      keep->q_rstd = space.Floats(rows * shape_.q_heads);
      keep->k_rstd = space.Floats(rows * shape_.kv_heads);
    }
    const Workspace::Mark mark = space.Here();
    const Matrix normed = space.NewRows(rows, x.cols);
    norm_.Forward(c, x, OwnRows(c, normed), keep->rstd);
    GatherRows(c, normed);
    c.backend->Products(
        {q_.Forward(normed, keep->q_raw), k_.Forward(normed, keep->k_raw), v_.Forward(normed, keep->v)});
    space.Release(mark);
    if (q_norm_) {
      q_norm_.Forward(c, Heads(keep->q_raw), Heads(keep->q), keep->q_rstd);
      k_norm_.Forward(c, Heads(keep->k_raw), Heads(keep->k), keep->k_rstd);
    }
    c.backend->Rotary(batch.Rotary(InHeads(keep->q, shape_.q_heads)));
    c.backend->Rotary(batch.Rotary(InHeads(keep->k, shape_.kv_heads)));
    // The way back sees what attention sees.
    if (shape_.stored == kernels::Type::kBf16) {
      c.backend->RoundToBf16(keep->k, keep->k);
      c.backend->RoundToBf16(keep->v, keep->v);
    }
    keep->k = GatherPositions(c, batch, keep->k);
    keep->v = GatherPositions(c, batch, keep->v);
    c.backend->WriteBlocks({shape_, batch.keys(), keep->k, keep->v, batch.layer_offset});
    c.backend->Attention({shape_, batch.sequences, keep->q, keep->out, keep->lse, batch.layer_offset});
    if (y) o_.Apply(c, keep->out, y, x);
    if (saved != nullptr) *saved = std::move(keep);
  }

  void Backward(const Context& c, const BatchView& batch, const Saved& saved, Matrix dy, Matrix dx) override {
    const auto& keep = static_cast<const SavedAttention&>(saved);
    Workspace& space = *c.workspace;
    const int64_t rows = batch.rows();
    Matrix dout = space.NewRows(rows, o_.inputs());
    Matrix dq = space.NewRows(rows, q_.outputs()), dk = space.NewRows(rows, k_.outputs()),
           dv = space.NewRows(rows, v_.outputs());
    Matrix dnormed = space.NewRows(dy.rows, dy.cols), normed = space.NewRows(rows, dy.cols);
    norm_.Forward(c, keep.x, OwnRows(c, normed), nullptr);
    GatherRows(c, normed);
    Backprop back(c);
    back.Through({{o_, AllRows(c, dy, rows)}}, keep.out, dout);
    back.Inputs();
    AttentionBackwardAcross(c, batch,
                            {.shape = shape_,
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
    c.backend->Rotary(batch.Rotary(InHeads(dq, shape_.q_heads), /*inverse=*/true));
    c.backend->Rotary(batch.Rotary(InHeads(dk, shape_.kv_heads), /*inverse=*/true));
    if (q_norm_) {
      HeadsBackward(c, q_norm_, {dq, keep.q_raw, keep.q_rstd});
      HeadsBackward(c, k_norm_, {dk, keep.k_raw, keep.k_rstd});
    }
    back.ThroughOwn({{q_, dq}, {k_, dk}, {v_, dv}}, normed, dnormed);
    back.Inputs();
    back.Weights();
    norm_.Backward(c, {dnormed, keep.x, keep.rstd, dx, /*add=*/dy, /*own=*/true});
  }

 private:
  // Of one of the heads' norms: the gradient of its outputs, which that of its inputs overwrites, and those.
  struct HeadGradient {
    Matrix d, raw;
    float* rstd;
  };
  // The gradient of the norm's weight is one chain over the tokens and in each over all heads, those of other
  // ranks too.
  void HeadsBackward(const Context& c, const Norm& norm, const HeadGradient& g) const {
    const int64_t heads = g.d.cols / shape_.qk_dim, ranks = shape_.whole_heads() / shape_.q_heads;
    const Workspace::Mark mark = c.workspace->Here();
    const Matrix d = GatherColumns(c, g.d, g.d.cols * ranks), raw = GatherColumns(c, g.raw, g.d.cols * ranks);
    const Matrix rstd = GatherColumns(c, kernels::F32(g.rstd, g.d.rows, heads), heads * ranks);
    norm.Backward(c, {Heads(d), Heads(raw), rstd.f32(), Heads(d)});
    if (ranks > 1) c.backend->Copy(d.Columns(TensorRanks(c).rank() * g.d.cols, g.d.cols), g.d);
    c.workspace->Release(mark);
  }

  // The heads of all tokens as rows of their own, token by token.
  Matrix Heads(Matrix rows) const {
    return kernels::F32(rows.f32(), rows.rows * (rows.cols / shape_.qk_dim), shape_.qk_dim);
  }
  kernels::Heads InHeads(Matrix rows, int heads) const { return {rows, heads, shape_.qk_dim, shape_.qk_dim}; }

  Norm norm_;
  Linear q_, k_, v_, o_;
  Norm q_norm_, k_norm_;
  kernels::AttentionShape shape_;
};

}  // namespace

std::unique_ptr<Block> MakeGroupedAttention(const ModelConfig& config, const WeightSource& weights,
                                            const LayerPlace& at) {
  return std::make_unique<GroupedAttention>(config, weights, at);
}

}  // namespace temper
