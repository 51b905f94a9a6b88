// SPDX-License-Identifier: Apache-2.0
#include "model/blocks/mtp.h"

#include "model/across.h"

namespace temper {

Mtp::Mtp(const ModelConfig& config, const WeightSource& weights, const MeshPlace& rank)
    : embedded_norm_(weights, "enorm", config.rms_norm_eps),
      hidden_norm_(weights, "hnorm", config.rms_norm_eps),
      project_(weights, "eh_proj", Cut::kNone),
      attention_(MakeAttentionBlock(config, weights, {config.num_layers, rank})),
      mlp_(MakeMlpBlock(config, weights, {config.num_layers, rank})),
      norm_(weights, "shared_head.norm", config.rms_norm_eps) {}

void Mtp::Join(const Context& c, const Inputs& in, Matrix joined, Kept* kept) const {
  const int64_t width = in.hidden.cols;
  embedded_norm_.Forward(c, in.embedded, joined.Columns(0, width), kept->embedded_rstd);
  hidden_norm_.Forward(c, in.hidden, joined.Columns(width, width), kept->hidden_rstd);
}

void Mtp::Forward(const Context& keep, const Context& scratch, const BatchView& view, const Inputs& in,
                  Matrix y, Kept* kept) const {
  Workspace& space = *keep.workspace;
  const int64_t rows = in.hidden.rows, width = in.hidden.cols;
  for (Matrix* const matrix : {&kept->x, &kept->middle, &kept->out}) *matrix = space.NewRows(rows, width);
  for (float** const rstd : {&kept->embedded_rstd, &kept->hidden_rstd, &kept->rstd})
    *rstd = space.Floats(rows);
  const Workspace::Mark mark = scratch.workspace->Here();
  const Matrix joined = scratch.workspace->NewRows(rows, 2 * width);
  Join(scratch, in, joined, kept);
  scratch.backend->Products({project_.Forward(joined, kept->x)});
  scratch.workspace->Release(mark);
  attention_->Forward(kept->keeps_attention ? keep : scratch, view, kept->x, kept->middle,
                      kept->keeps_attention ? &kept->attention : nullptr);
  scratch.workspace->Release(mark);
  mlp_->Forward(kept->keeps_mlp ? keep : scratch, view, kept->middle, kept->out,
                kept->keeps_mlp ? &kept->mlp : nullptr);
  scratch.workspace->Release(mark);
  norm_.Forward(scratch, kept->out, y, kept->rstd);
}

void Mtp::Backward(const Context& c, const BatchView& view, const Inputs& in, Kept* kept,
                   const Gradients& gradients) const {
  Workspace& space = *c.workspace;
  const int64_t rows = in.hidden.rows, width = in.hidden.cols;
  const Workspace::Mark begin = space.Here();
  const Matrix a = space.NewRows(rows, width), b = space.NewRows(rows, width);
  const Workspace::Mark mark = space.Here();
  norm_.Backward(c, {gradients.dy, kept->out, kept->rstd, a, /*add=*/{}, /*own=*/true});
  if (kept->mlp == nullptr) mlp_->Forward(c, view, kept->middle, {}, &kept->mlp);
  mlp_->Backward(c, view, *kept->mlp, a, b);
  kept->mlp.reset();
  space.Release(mark);
  if (kept->attention == nullptr) attention_->Forward(c, view, kept->x, {}, &kept->attention);
  attention_->Backward(c, view, *kept->attention, b, a);
  kept->attention.reset();
  space.Release(mark);

  const Matrix joined = space.NewRows(view.rows(), 2 * width), djoined = space.NewRows(rows, 2 * width);
  Join(c, in, OwnRows(c, joined), kept);  // the same again
  GatherRows(c, joined);
  Backprop back(c);
  back.ThroughOwn({{project_, AllRows(c, a, view.rows())}}, joined, djoined);
  back.Inputs();
  back.Weights();
  const Matrix dembedded = djoined.Columns(0, width), dhidden = djoined.Columns(width, width);
  const Inputs& to = gradients.of_inputs;
  embedded_norm_.Backward(c, {dembedded, in.embedded, kept->embedded_rstd, to.embedded, {}, /*own=*/true});
  hidden_norm_.Backward(c, {dhidden, in.hidden, kept->hidden_rstd, to.hidden, {}, /*own=*/true});
  space.Release(begin);
}

}  // namespace temper
