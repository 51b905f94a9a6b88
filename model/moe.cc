// SPDX-License-Identifier: Apache-2.0
// Mixture of experts as in DeepSeek-V3 (report, section 2.1.2): a router, the grouped product of the chosen
// experts, shared experts on every token. No capacity: every token gets its experts.
#include <vector>

#include "model/mlp.h"

namespace temper {
namespace {

using kernels::Product;
using kernels::WeightGradient;

struct SavedMoe : Saved {
  Rows x, normed, entries_in, gate, up, activated, entries_out;
  Rows shared_gate, shared_up, shared_activated;
  float *rstd = nullptr, *weights = nullptr, *scores = nullptr;
  std::vector<int32_t> ids;
  kernels::Dispatch dispatch;
};

class Moe : public Block {
 public:
  Moe(const ModelConfig& config, const WeightSource& weights)
      : norm_(weights.Find("post_attention_layernorm.weight")),
        router_(weights.Find("mlp.gate.weight")),
        bias_(weights.Find("mlp.gate.e_score_correction_bias")),
        eps_(config.rms_norm_eps) {
    shape_.experts = static_cast<int>(config.routed_experts);
    shape_.top_k = static_cast<int>(config.experts_per_token);
    shape_.groups = static_cast<int>(config.expert_groups);
    shape_.top_groups = static_cast<int>(config.top_groups);
    shape_.scaling = config.routed_scaling_factor;
    shape_.sigmoid = config.sigmoid_scores;
    shape_.normalize = config.norm_topk_prob;
    shape_.group_top2 = config.sigmoid_scores;
    for (int e = 0; e < shape_.experts; ++e) {
      experts_.push_back(FindSwiGlu(weights, "mlp.experts." + std::to_string(e) + "."));
    }
    if (config.shared_experts > 0) shared_ = FindSwiGlu(weights, "mlp.shared_experts.");
  }

  void Forward(const Context& c, const BatchView& batch, Rows x, Rows y,
               std::unique_ptr<Saved>* saved) override {
    auto keep = std::make_unique<SavedMoe>();
    Workspace& space = *c.workspace;
    const int64_t entries = x.rows * shape_.top_k;
    const int64_t width = experts_[0].gate->n;
    keep->x = x;
    keep->rstd = space.Floats(x.rows);
    keep->normed = space.NewRows(x.rows, x.cols);
    keep->weights = space.Floats(entries);
    keep->scores = space.Floats(x.rows * shape_.experts);
    keep->ids.resize(entries);
    ops::RmsNorm(c, x, norm_->data, eps_, keep->normed, keep->rstd);

    // Route, and give each expert its rows.
    Rows logits = space.NewRows(x.rows, shape_.experts);
    ops::Products(c, {temper::Forward(*router_, keep->normed, logits, kWholeAxis)});
    ops::Route(c, shape_, logits, bias_ == nullptr ? nullptr : bias_->data, keep->ids.data(), keep->weights,
               keep->scores);
    kernels::BuildDispatch(keep->ids.data(), x.rows, shape_.top_k, shape_.experts, &keep->dispatch);
    keep->entries_in = space.NewRows(entries, x.cols);
    ops::GatherRows(c, keep->normed, keep->dispatch.row.data(), keep->entries_in);

    // The routed and the shared experts' products side by side.
    keep->gate = space.NewRows(entries, width);
    keep->up = space.NewRows(entries, width);
    keep->activated = space.NewRows(entries, width);
    keep->entries_out = space.NewRows(entries, x.cols);
    Rows shared_out;
    if (shared_.gate != nullptr) {
      keep->shared_gate = space.NewRows(x.rows, shared_.gate->n);
      keep->shared_up = space.NewRows(x.rows, shared_.gate->n);
      keep->shared_activated = space.NewRows(x.rows, shared_.gate->n);
      shared_out = space.NewRows(x.rows, x.cols);
    }
    std::vector<Product> products;
    ForEachExpert(keep->dispatch, [&](const SwiGluWeights& expert, int64_t first, int64_t count) {
      products.push_back(temper::Forward(*expert.gate, Part(keep->entries_in, first, count),
                                         Part(keep->gate, first, count), kWholeAxis));
      products.push_back(temper::Forward(*expert.up, Part(keep->entries_in, first, count),
                                         Part(keep->up, first, count), kWholeAxis));
    });
    if (shared_.gate != nullptr) {
      products.push_back(
          temper::Forward(*shared_.gate, keep->normed, keep->shared_gate, kWholeAxis, shared_.gate_bias));
      products.push_back(
          temper::Forward(*shared_.up, keep->normed, keep->shared_up, kWholeAxis, shared_.up_bias));
    }
    ops::Products(c, products);
    ops::SwiGlu(c, keep->gate, keep->up, keep->activated);
    products.clear();
    ForEachExpert(keep->dispatch, [&](const SwiGluWeights& expert, int64_t first, int64_t count) {
      products.push_back(temper::Forward(*expert.down, Part(keep->activated, first, count),
                                         Part(keep->entries_out, first, count), kSplitAxis));
    });
    if (shared_.gate != nullptr) {
      ops::SwiGlu(c, keep->shared_gate, keep->shared_up, keep->shared_activated);
      products.push_back(
          temper::Forward(*shared_.down, keep->shared_activated, shared_out, kSplitAxis, shared_.down_bias));
    }
    ops::Products(c, products);
    ops::CombineExperts(c, keep->dispatch, keep->ids.data(), keep->weights, shape_.top_k, shape_.experts,
                        keep->entries_out, shared_out.data, x.data, y);
    if (saved != nullptr) *saved = std::move(keep);
  }

  void Backward(const Context& c, const BatchView& batch, const Saved& saved, Rows dy, Rows dx) override {
    const auto& keep = static_cast<const SavedMoe&>(saved);
    Workspace& space = *c.workspace;
    const int64_t entries = keep.entries_in.rows;
    const int64_t width = experts_[0].gate->n;
    Rows dentries_out = space.NewRows(entries, dy.cols);
    float* dweights = space.Floats(entries);
    ops::CombineExpertsBackward(c, keep.dispatch, keep.weights, shape_.top_k, dy, keep.entries_out,
                                dentries_out, dweights);

    // Down projections.
    Rows dactivated = space.NewRows(entries, width), dgate = space.NewRows(entries, width),
         dup = space.NewRows(entries, width);
    Rows dentries_in = space.NewRows(entries, dy.cols);
    Rows dshared_activated, dshared_gate, dshared_up;
    std::vector<Product> products;
    std::vector<WeightGradient> gradients;
    ForEachExpert(keep.dispatch, [&](const SwiGluWeights& expert, int64_t first, int64_t count) {
      products.push_back(InputGradient(*expert.down, Part(dentries_out, first, count),
                                       Part(dactivated, first, count), kWholeAxis));
      gradients.push_back(
          GradientOf(*expert.down, Part(dentries_out, first, count), Part(keep.activated, first, count)));
    });
    if (shared_.gate != nullptr) {
      dshared_activated = space.NewRows(dy.rows, shared_.gate->n);
      dshared_gate = space.NewRows(dy.rows, shared_.gate->n);
      dshared_up = space.NewRows(dy.rows, shared_.gate->n);
      products.push_back(InputGradient(*shared_.down, dy, dshared_activated, kWholeAxis));
      gradients.push_back(GradientOf(*shared_.down, dy, keep.shared_activated));
    }
    ops::Products(c, products);
    ops::SwiGluBackward(c, dactivated, keep.gate, keep.up, dgate, dup);
    if (shared_.gate != nullptr) {
      ops::SwiGluBackward(c, dshared_activated, keep.shared_gate, keep.shared_up, dshared_gate, dshared_up);
    }

    // Gate and up projections; `up` adds to what `gate` left.
    std::vector<Product> gate_products, up_products;
    Rows dnormed = space.NewRows(dy.rows, dy.cols);
    ForEachExpert(keep.dispatch, [&](const SwiGluWeights& expert, int64_t first, int64_t count) {
      Rows part = Part(dentries_in, first, count), in = Part(keep.entries_in, first, count);
      gate_products.push_back(InputGradient(*expert.gate, Part(dgate, first, count), part, kSplitAxis));
      up_products.push_back(InputGradient(*expert.up, Part(dup, first, count), part, kSplitAxis, part));
      gradients.push_back(GradientOf(*expert.gate, Part(dgate, first, count), in));
      gradients.push_back(GradientOf(*expert.up, Part(dup, first, count), in));
    });
    Rows droute = space.NewRows(dy.rows, shape_.experts);
    ops::RouteBackward(c, shape_, keep.ids.data(), keep.scores, dweights, droute);
    gate_products.push_back(InputGradient(*router_, droute, dnormed, kWholeAxis));
    gradients.push_back(GradientOf(*router_, droute, keep.normed));
    ops::Products(c, gate_products);
    ops::Products(c, up_products);
    if (shared_.gate != nullptr) {
      gradients.push_back(GradientOf(*shared_.gate, dshared_gate, keep.normed));
      gradients.push_back(GradientOf(*shared_.up, dshared_up, keep.normed));
      ops::Products(c, {InputGradient(*shared_.gate, dshared_gate, dnormed, kSplitAxis, dnormed)});
      ops::Products(c, {InputGradient(*shared_.up, dshared_up, dnormed, kSplitAxis, dnormed)});
      BiasGradients(c, shared_, dy, dshared_gate, dshared_up);
    }
    ops::WeightGradients(c, gradients);
    Rows dall = space.NewRows(dy.rows, dy.cols);
    ops::ScatterExperts(c, keep.dispatch, keep.ids.data(), shape_.top_k, shape_.experts, dentries_in,
                        dnormed.data, dall);
    ops::RmsNormBackward(c, dall, keep.x, norm_->data, keep.rstd, dy, dx, norm_->gradient);
  }

 private:
  static Rows Part(Rows all, int64_t first, int64_t count) {
    return {all.data + first * all.stride, count, all.cols, all.stride};
  }
  template <class F>
  void ForEachExpert(const kernels::Dispatch& dispatch, F body) const {
    for (int e = 0; e < shape_.experts; ++e) {
      const int64_t first = dispatch.offsets[e], count = dispatch.offsets[e + 1] - first;
      if (count > 0) body(experts_[e], first, count);
    }
  }

  const Weight* norm_;
  const Weight* router_;
  const Weight* bias_;  // e_score_correction_bias: steers the selection only
  std::vector<SwiGluWeights> experts_;
  SwiGluWeights shared_;
  kernels::RouteShape shape_;
  float eps_;
};

}  // namespace

std::unique_ptr<Block> MakeMoe(const ModelConfig& config, const WeightSource& weights, int64_t layer) {
  return std::make_unique<Moe>(config, weights);
}

}  // namespace temper
