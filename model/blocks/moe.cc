// SPDX-License-Identifier: Apache-2.0
// Mixture of experts as in DeepSeek-V3 (report, section 2.1.2): a router, the grouped product of the chosen
// experts, shared experts on every token. No capacity: every token gets its experts.
#include <vector>

#include "core/check.h"
#include "model/across.h"
#include "model/blocks/expert_exchange.h"
#include "model/blocks/mlp.h"

namespace temper {
namespace {

using kernels::Product;

struct SavedMoe : Saved {
  Matrix x, gate, up, entries_out, shared_gate, shared_up;
  float* rstd = nullptr;
  kernels::Routing routing;  // of x
  ExpertRows rows;           // that this rank's experts get
  Matrix rows_in;            // the norm of those, where they came from other ranks
};

class Moe : public Block {
 public:
  Moe(const ModelConfig& config, const WeightSource& weights, const MeshPlace& rank)
      : norm_(weights, "post_attention_layernorm", config.rms_norm_eps),
        router_(weights, "mlp.gate", Cut::kNone),
        bias_(weights.Find("mlp.gate.e_score_correction_bias")),
        width_(config.moe_intermediate_size) {
    shape_.experts = static_cast<int>(config.routed_experts);
    shape_.top_k = static_cast<int>(config.experts_per_token);
    shape_.groups = static_cast<int>(config.expert_groups);
    shape_.top_groups = static_cast<int>(config.top_groups);
    shape_.scaling = config.routed_scaling_factor;
    shape_.sigmoid = config.sigmoid_scores;
    shape_.normalize = config.norm_topk_prob;
    shape_.group_top2 = config.sigmoid_scores;
    const IndexRange mine = ExpertsOf(config, rank);
    shape_.begin = static_cast<int>(mine.begin);
    shape_.end = static_cast<int>(mine.end);
    for (int e = 0; e < shape_.experts; ++e) {
      experts_.emplace_back(weights, "mlp.experts." + std::to_string(e) + ".");
    }
    if (config.shared_experts > 0) shared_ = SwiGluLinears(weights, "mlp.shared_experts.");
  }

  void Forward(const Context& c, const BatchView& batch, Matrix x, Matrix y,
               std::unique_ptr<Saved>* saved) override {
    auto keep = std::make_unique<SavedMoe>();
    Workspace& space = *c.workspace;
    const int64_t rows = batch.rows(), slots = rows * shape_.top_k;
    keep->x = x;
    keep->rstd = space.Floats(x.rows);
    keep->routing = {.ids = space.Ints(slots),
                     .weights = space.Floats(slots),
                     .scores = space.Floats(rows * shape_.experts),
                     .row = space.Ints(slots),
                     .entry = space.Ints(slots),
                     .offsets = {}};
    if (c.never_waits)
      keep->routing.device_offsets = reinterpret_cast<int64_t*>(space.Floats(2 * (shape_.experts + 1)));
    int64_t entries = slots;
    const bool shared_out_experts = ExpertsAreShared(c);
    if (shared_out_experts) {
      // How many of them are this rank's, so that no more is kept.
      const Workspace::Mark mark = space.Here();
      const Matrix normed = space.NewRows(x.rows, x.cols);
      norm_.Forward(c, x, normed, keep->rstd);
      Route(c, normed, rows, &keep->routing);
      space.Release(mark);
      keep->rows = TakeRows(c, shape_, keep->routing, rows);
      entries = keep->rows.routing.offsets.back();
      if (RowsAreSent(c)) keep->rows_in = space.NewRows(keep->rows.count, x.cols);
    }
    keep->gate = space.NewRows(entries, width_);
    keep->up = space.NewRows(entries, width_);
    keep->entries_out = space.NewRows(entries, x.cols);
    if (shared_) {
      keep->shared_gate = space.NewRows(rows, shared_.width());
      keep->shared_up = space.NewRows(rows, shared_.width());
    }
    const Workspace::Mark mark = space.Here();
    const Matrix normed = space.NewRows(rows, x.cols);
    norm_.Forward(c, x, OwnRows(c, normed), keep->rstd);
    GatherRows(c, normed);

    // Route, and give each expert its rows.
    if (!shared_out_experts) {
      Route(c, normed, rows, &keep->routing);
      keep->rows = TakeRows(c, shape_, keep->routing, rows);
    }
    if (RowsAreSent(c)) SendRows(c, keep->rows, normed, keep->rows_in);
    const kernels::Routing& routing = keep->rows.routing;
    const Matrix entries_in = space.NewRows(entries, x.cols);
    c.backend->GatherExperts({shape_, &routing, keep->rows_in ? keep->rows_in : normed, entries_in});

    // The routed and the shared experts' products side by side.
    const Matrix activated = space.NewRows(entries, width_);
    std::vector<Product> products;
    if (c.never_waits) {
      OnDevice(c, &gates_, routing, entries_in, keep->gate);
      OnDevice(c, &ups_, routing, entries_in, keep->up);
    } else {
      ForEachExpert(routing, [&](const SwiGluLinears& expert, int64_t first, int64_t count) {
        const Matrix in = entries_in.Rows(first, count);
        products.push_back(expert.gate.Forward(in, keep->gate.Rows(first, count)));
        products.push_back(expert.up.Forward(in, keep->up.Rows(first, count)));
      });
    }
    if (shared_) {
      products.push_back(shared_.gate.Forward(normed, keep->shared_gate));
      products.push_back(shared_.up.Forward(normed, keep->shared_up));
    }
    c.backend->Products(products);
    c.backend->SwiGlu({keep->gate, keep->up, activated});
    products.clear();
    if (c.never_waits) {
      OnDevice(c, &downs_, routing, activated, keep->entries_out);
    } else {
      ForEachExpert(routing, [&](const SwiGluLinears& expert, int64_t first, int64_t count) {
        products.push_back(
            expert.down.Forward(activated.Rows(first, count), keep->entries_out.Rows(first, count)));
      });
    }
    Matrix sums, shared_out;
    if (shared_out_experts && y) sums = space.NewRows(rows * (shared_ ? 2 : 1), x.cols);
    if (shared_ && y) {
      const Matrix shared_activated = space.NewRows(rows, shared_.width());
      shared_out = sums ? sums.Rows(rows, rows) : space.NewRows(rows, x.cols);
      c.backend->SwiGlu({keep->shared_gate, keep->shared_up, shared_activated});
      products.push_back(shared_.down.Forward(shared_activated, shared_out));
    }
    c.backend->Products(products);
    if (y) {
      const kernels::CombineExpertsTask combine{.shape = shape_,
                                                .routing = &routing,
                                                .y = keep->entries_out,
                                                .shared = shared_out,
                                                .residual = x,
                                                .out = y};
      shared_out_experts ? CombineAcross(c, keep->rows, combine, sums, shared_.down)
                         : c.backend->CombineExperts(combine);
    }
    space.Release(mark);
    if (saved != nullptr) *saved = std::move(keep);
  }

  void Backward(const Context& c, const BatchView& batch, const Saved& saved, Matrix dy, Matrix dx) override {
    const auto& keep = static_cast<const SavedMoe&>(saved);
    Workspace& space = *c.workspace;
    const int64_t rows = batch.rows(), entries = keep.gate.rows;
    const kernels::Routing& routing = keep.rows.routing;
    const Matrix dout = AllRows(c, dy, rows);
    Matrix dentries_out = space.NewRows(entries, dy.cols), drows = dout;
    Matrix dslots = space.NewRows(keep.rows.count, shape_.top_k), dweights = dslots;
    if (RowsAreSent(c)) SendRows(c, keep.rows, dout, drows = space.NewRows(keep.rows.count, dy.cols));
    c.backend->CombineExpertsBackward({.shape = shape_,
                                       .routing = &routing,
                                       .dout = drows,
                                       .y = keep.entries_out,
                                       .dy = dentries_out,
                                       .dweights = dslots.f32()});
    if (ExpertsAreShared(c)) {
      dweights = space.NewRows(rows, shape_.top_k);
      ReturnSlots(c, shape_, keep.rows, keep.routing, dslots.f32(), dweights);
    }

    // What is quickly made anew is not kept: the norm, and what was activated, beside its gradient.
    Matrix normed = space.NewRows(rows, dy.cols), entries_in = space.NewRows(entries, dy.cols),
           activated = space.NewRows(entries, width_);
    norm_.Forward(c, keep.x, OwnRows(c, normed), nullptr);
    GatherRows(c, normed);
    c.backend->GatherExperts({shape_, &routing, keep.rows_in ? keep.rows_in : normed, entries_in});

    // Down projections.
    Matrix dactivated = space.NewRows(entries, width_), dgate = space.NewRows(entries, width_),
           dup = space.NewRows(entries, width_);
    Matrix dentries_in = space.NewRows(entries, dy.cols);
    Matrix shared_activated, dshared_activated, dshared_gate, dshared_up;
    Backprop back(c);
    ForEachExpert(routing, [&](const SwiGluLinears& expert, int64_t first, int64_t count) {
      back.Through({{expert.down, dentries_out.Rows(first, count)}}, activated.Rows(first, count),
                   dactivated.Rows(first, count), LeafEdges(keep.rows, first, count));
    });
    if (shared_) {
      dshared_activated = space.NewRows(rows, shared_.width());
      dshared_gate = space.NewRows(rows, shared_.width());
      dshared_up = space.NewRows(rows, shared_.width());
      shared_activated = space.NewRows(rows, shared_.width());
      back.Through({{shared_.down, dout}}, shared_activated, dshared_activated);
    }
    back.Inputs();
    c.backend->SwiGluBackward({dactivated, keep.gate, keep.up, dgate, dup, activated});
    if (shared_) {
      c.backend->SwiGluBackward(
          {dshared_activated, keep.shared_gate, keep.shared_up, dshared_gate, dshared_up, shared_activated});
    }

    // Gate and up projections, the router beside them.
    Matrix dnormed = space.NewRows(dy.rows, dy.cols), droute = space.NewRows(rows, shape_.experts);
    ForEachExpert(routing, [&](const SwiGluLinears& expert, int64_t first, int64_t count) {
      back.Through({{expert.gate, dgate.Rows(first, count)}, {expert.up, dup.Rows(first, count)}},
                   entries_in.Rows(first, count), dentries_in.Rows(first, count),
                   LeafEdges(keep.rows, first, count));
    });
    c.backend->RouteBackward({shape_, &keep.routing, dweights.f32(), droute});
    if (shared_) {
      back.ThroughOwn({{router_, droute}, {shared_.gate, dshared_gate}, {shared_.up, dshared_up}}, normed,
                      dnormed);
    } else {
      back.ThroughOwn({{router_, droute}}, normed, dnormed);
    }
    back.Inputs();
    back.Weights();
    Matrix dall = space.NewRows(rows, dy.cols);
    const kernels::ScatterExpertsTask scatter{shape_, &routing, dentries_in, dnormed, dall};
    ExpertsAreShared(c) ? ScatterAcross(c, keep.rows, scatter) : c.backend->ScatterExperts(scatter);
    norm_.Backward(c, {OwnRows(c, dall), keep.x, keep.rstd, dx, /*add=*/dy, /*own=*/true});
  }

 private:
  // Of `rows` rows, of which `normed` has this rank's own.
  void Route(const Context& c, Matrix normed, int64_t rows, kernels::Routing* routing) const {
    const Workspace::Mark mark = c.workspace->Here();
    const Matrix logits = c.workspace->NewRows(normed.rows, shape_.experts);
    c.backend->Products({router_.Forward(normed, logits)});
    const float* const bias = bias_ == nullptr ? nullptr : bias_->value.f32();
    c.backend->Route({.shape = shape_, .logits = AllRows(c, logits, rows), .bias = bias, .routing = routing});
    c.workspace->Release(mark);
  }

  template <class F>
  void ForEachExpert(const kernels::Routing& routing, F body) const {
    for (int e = 0; e < shape_.experts; ++e) {
      const int64_t first = routing.offsets[e], count = routing.offsets[e + 1] - first;
      if (count > 0) body(experts_[e], first, count);
    }
  }

  // One of the experts' three linears, and where the weights of all lie, which stay there.
  struct Places {
    Linear SwiGluLinears::*linear;
    std::vector<const void*> weights = {};
  };
  // Of entries that the backend alone can tell apart.
  void OnDevice(const Context& c, Places* of, const kernels::Routing& routing, Matrix x, Matrix y) const {
    const auto product = [&](const SwiGluLinears& expert) { return (expert.*of->linear).Forward(x, y); };
    if (of->weights.empty())
      for (const SwiGluLinears& expert : experts_) of->weights.push_back(product(expert).b.data);
    const Product one = product(experts_[0]);
    TEMPER_CHECK(one.bias == nullptr && !one.add, "experts with biases");
    c.backend->ExpertProducts({.routing = &routing,
                               .experts = shape_.experts,
                               .weights = of->weights.data(),
                               .like = one.b,
                               .x = x,
                               .y = y,
                               .k_chunks = one.k_chunks});
  }

  Norm norm_;
  Linear router_;
  const Weight* bias_;                  // e_score_correction_bias: steers the selection only
  const int64_t width_;                 // of a routed expert
  std::vector<SwiGluLinears> experts_;  // none where another rank has it
  Places gates_{&SwiGluLinears::gate}, ups_{&SwiGluLinears::up}, downs_{&SwiGluLinears::down};
  SwiGluLinears shared_;
  kernels::RouteShape shape_;
};

}  // namespace

std::unique_ptr<Block> MakeMoe(const ModelConfig& config, const WeightSource& weights, const LayerPlace& at) {
  return std::make_unique<Moe>(config, weights, at.rank);
}

}  // namespace temper
