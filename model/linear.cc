// SPDX-License-Identifier: Apache-2.0
#include "model/linear.h"

#include <utility>

#include "core/check.h"
#include "model/across.h"
#include "model/stretches.h"

namespace temper {
namespace {

// Of the gradients of stretches that are made at once, where there is more than one.
constexpr int64_t kStretchFloats = int64_t{1} << 24;

}  // namespace

SumPlace SumPlace::Part(int64_t first, int64_t n) const {
  if (sum.empty()) return {};
  return {{.rule = sum.rule, .n = n, .first = sum.first + first, .second = sum.second + first}, in_range};
}

void SumPlace::Add(kernels::Backend& backend, Matrix stretch) const {
  TEMPER_CHECK(!sum.empty() && sum.n == stretch.rows * stretch.cols && stretch.stride == stretch.cols);
  kernels::LeafSum to = sum;
  *in_range &= backend.AddLeaf(stretch.f32(), &to);
}

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

SumPlace Linear::WeightSum() const {
  return weight_->sum.Part(first_ * weight_->k(), outputs() * weight_->k());
}

void WeightQueue::Add(const Linear& linear, Matrix dy, Matrix x) {
  weights_.push_back(linear.WeightGradient(dy, x));
  if (linear.BiasGradient() != nullptr) biases_.emplace_back(linear.BiasGradient(), dy);
}

void WeightQueue::AddLeaf(const Linear& linear, size_t rank, Matrix dy, Matrix x) {
  weights_.push_back(linear.LeafGradient(rank, dy, x));
}

void WeightQueue::AddStretch(int64_t stretch, const Linear& linear, Matrix dy, Matrix x) {
  stretches_[stretch].push_back({dy, x, linear.WeightSum(), linear.BiasSum()});
}

void WeightQueue::Add(WeightQueue more) {
  for (auto& [stretch, gradients] : more.stretches_) {
    std::vector<OfStretch>& all = stretches_[stretch];
    all.insert(all.end(), gradients.begin(), gradients.end());
  }
  weights_.insert(weights_.end(), more.weights_.begin(), more.weights_.end());
  biases_.insert(biases_.end(), more.biases_.begin(), more.biases_.end());
}

void WeightQueue::Compute(const Context& c) {
  c.backend->WeightGradients(weights_);
  for (const auto& [gradient, dy] : biases_) c.backend->BiasGradient(dy, gradient);
  weights_.clear();
  biases_.clear();
  for (const auto& [stretch, gradients] : std::exchange(stretches_, {})) {
    size_t begin = 0;
    int64_t floats = 0;
    for (size_t i = 0; i < gradients.size(); ++i) {
      const int64_t more = gradients[i].dy.cols * gradients[i].x.cols;
      if (i > begin && floats + more > kStretchFloats) {
        ComputeStretches(c, absl::MakeSpan(gradients).subspan(begin, i - begin));
        begin = i;
        floats = 0;
      }
      floats += more;
    }
    ComputeStretches(c, absl::MakeSpan(gradients).subspan(begin));
  }
}

void WeightQueue::ComputeStretches(const Context& c, absl::Span<const OfStretch> gradients) {
  const Workspace::Mark mark = c.workspace->Here();
  std::vector<kernels::WeightGradient> products;
  for (const OfStretch& g : gradients)
    products.push_back({.dy = g.dy, .x = g.x, .dw = ZeroRows(c, g.dy.cols, g.x.cols)});
  c.backend->WeightGradients(products);
  for (size_t i = 0; i < gradients.size(); ++i) {
    const OfStretch& g = gradients[i];
    g.weight.Add(*c.backend, products[i].dw);
    if (g.bias.sum.empty()) continue;
    const Matrix bias = ZeroRows(c, 1, g.dy.cols);
    c.backend->BiasGradient(g.dy, bias.f32());
    g.bias.Add(*c.backend, bias);
  }
  c.workspace->Release(mark);
}

void ForEachStretch(const Context& c, int64_t rows, absl::FunctionRef<void(int64_t, int64_t)> body) {
  const std::vector<int64_t>& edges = c.stretches->edges;
  const int64_t each = rows == 0 ? 1 : rows / edges.back();  // rows a token
  for (size_t i = 0; i + 1 < edges.size(); ++i) body(edges[i] * each, (edges[i + 1] - edges[i]) * each);
}

Matrix ZeroRows(const Context& c, int64_t rows, int64_t cols) {
  const Matrix zeros = c.workspace->NewRows(rows, cols);
  c.backend->Zero(zeros);
  return zeros;
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
      if (count == 0) continue;
      const Matrix dy = term.dy.Rows(first, count), rows = x.Rows(first, count);
      c_.stretches == nullptr&& term.linear.HasLeafGradients()
          ? weights_.AddLeaf(term.linear, r, dy, rows)
          : weights_.AddStretch(static_cast<int64_t>(r), term.linear, dy, rows);
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

void Backprop::Weight(const Linear& linear, Matrix dy, Matrix x) {
  if (c_.stretches == nullptr) return weights_.Add(linear, dy, x);
  int64_t stretch = 0;
  ForEachStretch(c_, dy.rows, [&](int64_t first, int64_t count) {
    weights_.AddStretch(stretch++, linear, dy.Rows(first, count), x.Rows(first, count));
  });
}

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
  const auto back = [&](int64_t first, int64_t count, float* dweight) {
    c.backend->RmsNormBackward({.dy = g.dy.Rows(first, count),
                                .x = g.x.Rows(first, count),
                                .weight = weight_->value.f32(),
                                .rstd = g.rstd + first,
                                .add = g.add ? g.add.Rows(first, count) : Matrix(),
                                .dx = g.dx.Rows(first, count),
                                .dweight = dweight});
  };
  if (c.stretches == nullptr) return back(0, g.dy.rows, weight_->gradient.f32());
  ForEachStretch(c, g.dy.rows, [&](int64_t first, int64_t count) {
    const Workspace::Mark mark = c.workspace->Here();
    const Matrix dweight = ZeroRows(c, weight_->n(), 1);
    back(first, count, dweight.f32());
    weight_->sum.Add(*c.backend, dweight);
    c.workspace->Release(mark);
  });
}

}  // namespace temper
