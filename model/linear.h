// SPDX-License-Identifier: Apache-2.0
// What a block is made of: linears and norms, forward and backward. A linear is the only code of the model
// that knows how a layout of ranks may cut a weight, and so in how many chunks an axis is summed.
#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "model/workspace.h"

namespace temper {

// Where the gradients of stretches are added as integers: `sum` has both halves of its numbers. A value that
// is out of range sets `in_range` to false.
struct SumPlace {
  kernels::LeafSum sum;
  bool* in_range = nullptr;

  // Of `n` of its numbers.
  SumPlace Part(int64_t first, int64_t n) const;
  void Add(kernels::Backend& backend, Matrix stretch) const;
};

// A weight [n, k] as a block uses it; a vector's k is 1. gradient is none in inference. `part`: where ranks
// share its rows or its columns, which of them these are.
struct Weight {
  Matrix value;
  const kernels::PackedMatrix* packed = nullptr;
  Matrix gradient = {};
  kernels::AxisPart part = {};
  // Of a routed expert whose rows come from several ranks (mesh.ep), each with a leaf of its own at hand: the
  // gradient of each one's leaf, in place of `gradient`; none: each is a leaf's whole and goes to `sum`.
  std::vector<Matrix> leaf_gradients = {};
  SumPlace sum = {};  // of the gradients of stretches, and of those

  int64_t n() const { return value.rows; }
  int64_t k() const { return value.cols; }
};

// Weights are looked up by a block's own short names ("self_attn.q_proj.weight"), behind its layer's prefix.
// The Weight objects outlive who finds them.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual const Weight* Find(const std::string& name) const = 0;  // null: the model has none
};

// The axis of a linear that a layout of ranks may cut; sums over it go in kernels::kChunks chunks, over the
// other in one chain.
enum class Cut { kNone, kInputs, kOutputs };

// y = x W^T (+ bias) of rows x [rows, inputs] to y [rows, outputs].
class Linear {
 public:
  Linear() = default;  // none
  // name.weight, and name.bias where the model has it; none where it has no such weight.
  Linear(const WeightSource& source, const std::string& name, Cut cut);

  explicit operator bool() const { return weight_ != nullptr; }
  int64_t inputs() const { return weight_->k(); }
  int64_t outputs() const { return count_ < 0 ? weight_->n() : count_; }
  // The outputs [first, first + count) of one without a bias, as a linear of their own.
  Linear Outputs(int64_t first, int64_t count) const;

  // y = x W^T (+ bias) (+ add). Where ranks share its inputs: the sum over this rank's, without bias and add.
  kernels::Product Forward(Matrix x, Matrix y, Matrix add = {}) const;
  // The same at once, with what is left to do where ranks share the inputs: y and add have this rank's own
  // rows then, where ranks share rows (model/across.h).
  void Apply(const Context& c, Matrix x, Matrix y, Matrix add = {}) const;
  // What is left where they do, behind the sum across ranks: y += bias. Else nothing.
  void AddSharedBias(const Context& c, Matrix y) const;
  // dx = dy W (+ add). Where ranks share its outputs: the sum over this rank's.
  kernels::Product InputGradient(Matrix dy, Matrix dx, Matrix add = {}) const;
  // The weight's gradient goes on with these rows.
  kernels::WeightGradient WeightGradient(Matrix dy, Matrix x) const;
  // The same of a routed expert, of rows of that rank's leaf.
  kernels::WeightGradient LeafGradient(size_t rank, Matrix dy, Matrix x) const;
  // The bias's likewise goes on here; null: there is none.
  float* BiasGradient() const { return bias_ == nullptr ? nullptr : bias_->gradient.f32(); }
  // Whether there are any.
  bool HasLeafGradients() const { return !weight_->leaf_gradients.empty(); }
  // Where the weight's gradient of a stretch is added, and the bias's.
  SumPlace WeightSum() const;
  SumPlace BiasSum() const { return bias_ == nullptr ? SumPlace() : bias_->sum; }
  // Whether ranks share the axis that is cut, and it is this one.
  bool Shares(Cut cut) const { return cut_ == cut && weight_->part.whole > 0; }

 private:
  Matrix Value() const { return count_ < 0 ? weight_->value : weight_->value.Rows(first_, count_); }

  const Weight *weight_ = nullptr, *bias_ = nullptr;
  int64_t first_ = 0, count_ = -1;  // outputs; -1: all
  Cut cut_ = Cut::kNone;
};

// Of `rows` rows, as many of each of a long sequence's tokens as of any other: those of each of this rank's
// stretches.
void ForEachStretch(const Context& c, int64_t rows,
                    absl::FunctionRef<void(int64_t first, int64_t count)> body);
// In new memory of the workspace.
Matrix ZeroRows(const Context& c, int64_t rows, int64_t cols);

// Gradients of weights and biases that wait to be computed, in the order in which they were put here. What
// they are made of lives until then.
class WeightQueue {
 public:
  void Add(const Linear& linear, Matrix dy, Matrix x);
  // Of a routed expert, of rows of that rank's leaf.
  void AddLeaf(const Linear& linear, size_t rank, Matrix dy, Matrix x);
  // Of rows of a stretch, or of all that a leaf has: any number tells it from others.
  void AddStretch(int64_t stretch, const Linear& linear, Matrix dy, Matrix x);
  void Add(WeightQueue more);
  // All weights' in one parallel region, then those of biases; then those of stretches, as many at once as
  // little memory holds. The queue is empty again.
  void Compute(const Context& c);

 private:
  struct OfStretch {
    Matrix dy, x;
    SumPlace weight, bias;
  };
  void ComputeStretches(const Context& c, absl::Span<const OfStretch> gradients);

  std::vector<kernels::WeightGradient> weights_;
  std::vector<std::pair<float*, Matrix>> biases_;
  std::map<int64_t, std::vector<OfStretch>> stretches_;
};

// The way back through a block's linears. What is queued is computed when asked for.
class Backprop {
 public:
  // A linear and the gradient of its outputs.
  struct Term {
    const Linear& linear;
    Matrix dy;
  };
  explicit Backprop(const Context& c) : c_(c) {}

  // Queues dx = dy_0 W_0 + dy_1 W_1 + ... (+ add) of linears that all read x; and the gradients of their
  // weights and biases. Neighbours that are cut alike, at most three, are one product with one tree; those
  // that are cut otherwise add to dx behind it.
  void Through(std::initializer_list<Term> terms, Matrix x, Matrix dx, Matrix add = {});
  // The same of a routed expert's linears, whose rows [edges[r], edges[r + 1]) are of rank r's leaf, or of
  // one of all ranks' stretches.
  void Through(std::initializer_list<Term> terms, Matrix x, Matrix dx, absl::Span<const int64_t> edges);
  // The same of linears that read the block's norm: dx has this rank's own rows (model/across.h).
  void ThroughOwn(std::initializer_list<Term> terms, Matrix x, Matrix dx);
  // Queues a weight's gradient alone.
  void Weight(const Linear& linear, Matrix dy, Matrix x);
  // Computes all dx that were queued, what does not wait for one another in one parallel region.
  void Inputs();
  // Computes all gradients of weights and biases, or puts them where the context wants them.
  void Weights();

 private:
  // A rank's part of a sum over linears' outputs that ranks share, which goes to dx behind `add`.
  struct Part {
    Matrix sum = {}, dx = {}, add = {};
    bool own = false;  // of dx this rank has its own rows
  };
  // Queues dx alone.
  void Input(std::initializer_list<Term> terms, Part to);
  void Finish(const Part& part) const;

  const Context& c_;
  std::vector<std::vector<kernels::Product>> inputs_;  // products that wait for those before
  std::vector<std::vector<Part>> parts_;               // of each of these, those that ranks share
  WeightQueue weights_;
};

// y = x / rms(x) * weight (Zhang and Sennrich 2019).
class Norm {
 public:
  Norm() = default;  // none
  Norm(const WeightSource& source, const std::string& name, float eps)
      : weight_(source.Find(name + ".weight")), eps_(eps) {}

  explicit operator bool() const { return weight_ != nullptr; }
  // rstd [rows] is for the way back.
  void Forward(const Context& c, Matrix x, Matrix y, float* rstd) const;
  // dx = its gradient (+ add); dx may be dy. The weight's gradient goes on with these rows. `own`: they are
  // this rank's own where ranks share rows (model/across.h); the chain goes on through all ranks' then.
  struct Gradient {
    Matrix dy, x;
    const float* rstd;
    Matrix dx, add = {};
    bool own = false;
  };
  void Backward(const Context& c, const Gradient& gradient) const;

 private:
  // Of the rows [first, first + count); the weight's goes on in `dweight`.
  struct Part {
    int64_t first = 0, count = 0;
    float* dweight = nullptr;
  };
  void BackwardPart(const Context& c, const Gradient& gradient, const Part& part) const;
  void BackwardOfOwn(const Context& c, const Gradient& gradient) const;

  const Weight* weight_ = nullptr;
  float eps_ = 0;
};

}  // namespace temper
