// SPDX-License-Identifier: Apache-2.0
#include "model/linear.h"

#include <utility>

#include "core/check.h"
#include "model/across.h"

namespace temper {

Linear::Linear(const WeightSource& source, const std::string& name, Cut cut)
    : weight_(source.Find(name + ".weight")), bias_(source.Find(name + ".bias")), cut_(cut) {}

Linear Linear::Outputs(int64_t first, int64_t count) const {
  TEMPER_CHECK(bias_ == nullptr && count_ < 0 && first >= 0 && first + count <= weight_->n());
  Linear part = *this;
  part.first_ = first;
  part.count_ = count;
  return part;
}

kernels::Product Linear::Forward(Matrix x, Matrix y, Matrix add) const {
  const bool partial = Shares(Cut::kInputs);
  return {.a = x,
          .b = Value(),
          .packed = count_ < 0 ? weight_->packed : nullptr,
          .c = y,
          .k_chunks = cut_ == Cut::kInputs ? kernels::kChunks : 1,
          .part = partial ? weight_->part : kernels::AxisPart(),
          .bias = bias_ == nullptr || partial ? nullptr : bias_->value.f32(),
          .add = partial ? Matrix() : add};
}

void Linear::Apply(const Context& c, Matrix x, Matrix y, Matrix add) const {
  c.backend->Products({Forward(x, y, add)});
  if (!Shares(Cut::kInputs)) return;
  SumAcross(c, y);
  AddSharedBias(c, y);
  if (add) c.backend->Add(add, y);
}

void Linear::AddSharedBias(const Context& c, Matrix y) const {
  if (bias_ == nullptr || !Shares(Cut::kInputs)) return;
  // One row that counts as every row.
  c.backend->Add(kernels::F32(bias_->value.f32(), y.rows, y.cols).Strided(0), y);
}

kernels::Product Linear::InputGradient(Matrix dy, Matrix dx, Matrix add) const {
  return {.a = dy,
          .b = Value(),
          .b_transposed = false,
          .c = dx,
          .k_chunks = cut_ == Cut::kOutputs ? kernels::kChunks : 1,
          .part = Shares(Cut::kOutputs) ? weight_->part : kernels::AxisPart(),
          .add = add};
}

kernels::WeightGradient Linear::WeightGradient(Matrix dy, Matrix x) const {
  TEMPER_CHECK(weight_->gradient);
  return {.dy = dy, .x = x, .dw = count_ < 0 ? weight_->gradient : weight_->gradient.Rows(first_, count_)};
}

kernels::WeightGradient Linear::LeafGradient(size_t rank, Matrix dy, Matrix x) const {
  return {.dy = dy, .x = x, .dw = weight_->leaf_gradients.at(rank)};
}

void WeightQueue::Add(const Linear& linear, Matrix dy, Matrix x) {
  weights_.push_back(linear.WeightGradient(dy, x));
  if (linear.BiasGradient() != nullptr) biases_.emplace_back(linear.BiasGradient(), dy);
}

void WeightQueue::AddLeaf(const Linear& linear, size_t rank, Matrix dy, Matrix x) {
  weights_.push_back(linear.LeafGradient(rank, dy, x));
}

void WeightQueue::Add(WeightQueue more) {
  weights_.insert(weights_.end(), more.weights_.begin(), more.weights_.end());
  biases_.insert(biases_.end(), more.biases_.begin(), more.biases_.end());
}

void WeightQueue::Compute(const Context& c) {
  c.backend->WeightGradients(weights_);
  for (const auto& [gradient, dy] : biases_) c.backend->BiasGradient(dy, gradient);
  weights_.clear();
  biases_.clear();
}

void Backprop::Through(std::initializer_list<Term> terms, Matrix x, Matrix dx, Matrix add) {
  Input(terms, dx, add);
  for (const Term& term : terms) Weight(term.linear, term.dy, x);
}

void Backprop::Through(std::initializer_list<Term> terms, Matrix x, Matrix dx,
                       absl::Span<const int64_t> edges) {
  if (edges.empty()) return Through(terms, x, dx);
  Input(terms, dx, {});
  for (size_t r = 0; r + 1 < edges.size(); ++r) {
    const int64_t first = edges[r], count = edges[r + 1] - first;
    for (const Term& term : terms) {
      if (count > 0) weights_.AddLeaf(term.linear, r, term.dy.Rows(first, count), x.Rows(first, count));
    }
  }
}

void Backprop::Input(std::initializer_list<Term> terms, Matrix dx, Matrix add) {
  size_t turn = 0, more = 0;
  for (const Term& term : terms) {
    kernels::Product next = term.linear.InputGradient(term.dy, dx, add);
    if (turn > 0 && inputs_[turn - 1].back().k_chunks == next.k_chunks) {
      TEMPER_CHECK(more < kernels::kMoreFactors);
      inputs_[turn - 1].back().more[more++] = {next.a, next.b, next.part};
    } else {
      if (inputs_.size() == turn) {
        inputs_.emplace_back();
        parts_.emplace_back();
      }
      if (term.linear.Shares(Cut::kOutputs)) {
        next.c = add ? c_.workspace->NewRows(dx.rows, dx.cols) : dx;
        next.add = {};
        parts_[turn].push_back({next.c, dx, add});
      }
      inputs_[turn++].push_back(next);
      more = 0;
    }
    add = dx;
  }
}

void Backprop::Weight(const Linear& linear, Matrix dy, Matrix x) { weights_.Add(linear, dy, x); }

void Backprop::Inputs() {
  for (size_t turn = 0; turn < inputs_.size(); ++turn) {
    if (!inputs_[turn].empty()) c_.backend->Products(inputs_[turn]);
    for (const Part& part : parts_[turn]) Finish(part);
    inputs_[turn].clear();
    parts_[turn].clear();
  }
}

void Backprop::Finish(const Part& part) const {
  SumAcross(c_, part.sum);
  if (!part.add) return;
  if (part.add.data != part.dx.data) c_.backend->Copy(part.add, part.dx);
  c_.backend->Add(part.sum, part.dx);
}

void Backprop::Weights() {
  if (c_.later != nullptr) {
    c_.later->Add(std::exchange(weights_, {}));
  } else {
    weights_.Compute(c_);
  }
}

void Norm::Forward(const Context& c, Matrix x, Matrix y, float* rstd) const {
  c.backend->RmsNorm({x, weight_->value.f32(), eps_, y, rstd});
}

void Norm::Backward(const Context& c, const Gradient& g) const {
  c.backend->RmsNormBackward({.dy = g.dy,
                              .x = g.x,
                              .weight = weight_->value.f32(),
                              .rstd = g.rstd,
                              .add = g.add,
                              .dx = g.dx,
                              .dweight = weight_->gradient.f32()});
}

}  // namespace temper
