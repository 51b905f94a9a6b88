// SPDX-License-Identifier: Apache-2.0
#include "model/linear.h"

#include "core/check.h"

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
  return {.a = x,
          .b = Value(),
          .packed = count_ < 0 ? weight_->packed : nullptr,
          .c = y,
          .k_chunks = cut_ == Cut::kInputs ? kernels::kChunks : 1,
          .bias = bias_ == nullptr ? nullptr : bias_->value.f32(),
          .add = add};
}

kernels::Product Linear::InputGradient(Matrix dy, Matrix dx, Matrix add) const {
  return {.a = dy,
          .b = Value(),
          .b_transposed = false,
          .c = dx,
          .k_chunks = cut_ == Cut::kOutputs ? kernels::kChunks : 1,
          .add = add};
}

kernels::WeightGradient Linear::WeightGradient(Matrix dy, Matrix x) const {
  TEMPER_CHECK(weight_->gradient);
  return {.dy = dy, .x = x, .dw = count_ < 0 ? weight_->gradient : weight_->gradient.Rows(first_, count_)};
}

void Linear::BiasGradient(const Context& c, Matrix dy) const {
  if (bias_ != nullptr) c.backend->BiasGradient(dy, bias_->gradient.f32());
}

void Backprop::Through(std::initializer_list<Term> terms, Matrix x, Matrix dx, Matrix add) {
  size_t turn = 0, more = 0;
  for (const Term& term : terms) {
    const kernels::Product next = term.linear.InputGradient(term.dy, dx, add);
    if (turn > 0 && inputs_[turn - 1].back().k_chunks == next.k_chunks) {
      TEMPER_CHECK(more < kernels::kMoreFactors);
      inputs_[turn - 1].back().more[more++] = {next.a, next.b, next.part};
    } else {
      if (inputs_.size() == turn) inputs_.emplace_back();
      inputs_[turn++].push_back(next);
      more = 0;
    }
    Weight(term.linear, term.dy, x);
    add = dx;
  }
}

void Backprop::Weight(const Linear& linear, Matrix dy, Matrix x) {
  weights_.push_back(linear.WeightGradient(dy, x));
  biases_.emplace_back(linear, dy);
}

void Backprop::Inputs() {
  for (std::vector<kernels::Product>& region : inputs_) {
    if (!region.empty()) c_.backend->Products(region);
    region.clear();
  }
}

void Backprop::Weights() {
  c_.backend->WeightGradients(weights_);
  for (const auto& [linear, dy] : biases_) linear.BiasGradient(c_, dy);
  weights_.clear();
  biases_.clear();
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
