// SPDX-License-Identifier: Apache-2.0
#include "model/linear.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "model/across.h"
#include "model/stretches.h"

namespace temper {
namespace {

// Of the gradients of stretches that are made at once, where there is more than one.
constexpr int64_t kStretchFloats = int64_t{1} << 24;
constexpr int kChainTag = 7;  // of norms' gradients between ranks that share rows

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
  const Workspace::Mark mark = c.workspace->Here();
  const Matrix sum = c.shares_rows ? c.workspace->NewRows(x.rows, outputs()) : y;
  c.backend->Products({Forward(x, sum, add)});
  if (!Shares(Cut::kInputs)) return;
  const Matrix own = SumOwnRows(c, sum);
  if (c.shares_rows) c.backend->Copy(own, y);
  c.workspace->Release(mark);
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
  Input(terms, {.dx = dx, .add = add});
  for (const Term& term : terms) Weight(term.linear, term.dy, x);
}

void Backprop::ThroughOwn(std::initializer_list<Term> terms, Matrix x, Matrix dx) {
  Input(terms, {.dx = dx, .own = c_.shares_rows});
  for (const Term& term : terms) Weight(term.linear, term.dy, x);
}

void Backprop::Through(std::initializer_list<Term> terms, Matrix x, Matrix dx,
                       absl::Span<const int64_t> edges) {
  if (edges.empty()) return Through(terms, x, dx);
  Input(terms, {.dx = dx});
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

void Backprop::Input(std::initializer_list<Term> terms, Part to) {
  size_t turn = 0, more = 0;
  for (const Term& term : terms) {
    const bool shares = term.linear.Shares(Cut::kOutputs);
    const Matrix dy = to.own && !shares ? OwnRows(c_, term.dy) : term.dy;
    kernels::Product next = term.linear.InputGradient(dy, to.dx, to.add);
    if (turn > 0 && inputs_[turn - 1].back().k_chunks == next.k_chunks) {
      TEMPER_CHECK(more < kernels::kMoreFactors);
      inputs_[turn - 1].back().more[more++] = {next.a, next.b, next.part};
    } else {
      if (inputs_.size() == turn) {
        inputs_.emplace_back();
        parts_.emplace_back();
      }
      if (shares) {
        next.c = to.sum = to.add || to.own ? c_.workspace->NewRows(dy.rows, to.dx.cols) : to.dx;
        next.add = {};
        parts_[turn].push_back(to);
      }
      inputs_[turn++].push_back(next);
      more = 0;
    }
    to.add = to.dx;
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
  if (!part.own) SumAcross(c_, part.sum);
  const Matrix sum = part.own ? SumOwnRows(c_, part.sum) : part.sum;
  const Matrix before = part.add ? part.add : sum;
  if (before.data != part.dx.data) c_.backend->Copy(before, part.dx);
  if (part.add) c_.backend->Add(sum, part.dx);
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

void Norm::BackwardPart(const Context& c, const Gradient& g, const Part& part) const {
  const auto rows = [&part](Matrix of) { return of.Rows(part.first, part.count); };
  c.backend->RmsNormBackward({.dy = rows(g.dy),
                              .x = rows(g.x),
                              .weight = weight_->value.f32(),
                              .rstd = g.rstd + part.first,
                              .add = g.add ? rows(g.add) : Matrix(),
                              .dx = rows(g.dx),
                              .dweight = part.dweight});
}

void Norm::Backward(const Context& c, const Gradient& g) const {
  if (g.own && c.shares_rows) return BackwardOfOwn(c, g);
  if (c.stretches == nullptr) return BackwardPart(c, g, {0, g.dy.rows, weight_->gradient.f32()});
  ForEachStretch(c, g.dy.rows, [&](int64_t first, int64_t count) {
    const Workspace::Mark mark = c.workspace->Here();
    const Matrix dweight = ZeroRows(c, weight_->n(), 1);
    BackwardPart(c, g, {first, count, dweight.f32()});
    weight_->sum.Add(*c.backend, dweight);
    c.workspace->Release(mark);
  });
}

// The chains over tokens, one or one of each stretch, go from rank to rank, and from the last to all.
void Norm::BackwardOfOwn(const Context& c, const Gradient& g) const {
  Communicator& ranks = TensorRanks(c);
  const Workspace::Mark mark = c.workspace->Here();
  const Matrix chains = c.stretches == nullptr ? kernels::F32(weight_->gradient.f32(), 1, weight_->n())
                                               : ZeroRows(c, c.stretches->count(), weight_->n());
  const size_t bytes = chains.rows * chains.cols * sizeof(float);
  if (ranks.rank() > 0) ranks.Receive(chains.f32(), bytes, ranks.rank() - 1, kChainTag);
  if (c.stretches == nullptr) {
    BackwardPart(c, g, {0, g.dy.rows, chains.f32()});
  } else {
    const std::vector<int64_t>& edges = c.stretches->edges;
    const Share own = OwnShare(c, edges.back());
    for (int64_t i = 0; i < chains.rows; ++i) {
      const int64_t first = std::clamp(edges[i], own.begin, own.end) - own.begin;
      const int64_t end = std::clamp(edges[i + 1], own.begin, own.end) - own.begin;
      BackwardPart(c, g, {first, end - first, chains.Row(i)});
    }
  }
  const int last = ranks.size() - 1;
  if (ranks.rank() < last) {
    ranks.Send(chains.f32(), bytes, ranks.rank() + 1, kChainTag);
    ranks.Receive(chains.f32(), bytes, last, kChainTag);
  }
  for (int rank = 0; rank < last && ranks.rank() == last; ++rank)
    ranks.Send(chains.f32(), bytes, rank, kChainTag);
  for (int64_t i = 0; i < chains.rows && c.stretches != nullptr; ++i)
    weight_->sum.Add(*c.backend, chains.Rows(i, 1));
  c.workspace->Release(mark);
}

}  // namespace temper
