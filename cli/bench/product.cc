// SPDX-License-Identifier: Apache-2.0
// The one file of this room where LibTorch computes: it is the other side.
#include <algorithm>
#include <string>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/linear.h"
#include "ATen/ops/matmul.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/bench/report.h"
#include "core/huge_pages.h"
#include "core/random.h"
#include "core/status.h"
#include "core/text.h"
#include "kernels/backends/cpu.h"
#include "kernels/peak.h"

namespace temper {
namespace {

constexpr int64_t kMostOfASide = int64_t{1} << 20;

at::Tensor Random(int64_t rows, int64_t cols, RandomStream& random) {
  at::Tensor x = at::empty({rows, cols}, at::kFloat);
  float* data = x.mutable_data_ptr<float>();
  for (int64_t i = 0; i < rows * cols; ++i) data[i] = static_cast<float>(random.NextUniform() - 0.5);
  return x;
}

// y = x W^T, dx = dy W, dW (+)= dy^T x, with W [n, k].
struct Layer {
  Layer(int64_t m, int64_t n, int64_t k, RandomStream& random)
      : m(m), n(n), k(k), x(Random(m, k, random)), w(Random(n, k, random)), dy(Random(m, n, random)) {
    y = Random(m, n, random);
    dx = Random(m, k, random);
    dw = Random(n, k, random);
  }
  static kernels::Matrix Of(const at::Tensor& x) {
    return kernels::F32(x.const_data_ptr<float>(), x.size(0), x.size(1));
  }
  kernels::Product Forward() const {
    return {.a = Of(x), .b = Of(w), .c = Of(y), .k_chunks = kernels::kChunks};
  }
  kernels::Product InputGradient() const {
    return {.a = Of(dy), .b = Of(w), .b_transposed = false, .c = Of(dx), .k_chunks = kernels::kChunks};
  }
  kernels::WeightGradient WeightGradient() const { return {.dy = Of(dy), .x = Of(x), .dw = Of(dw)}; }

  int64_t m, n, k;
  at::Tensor x, w, dy, y, dx, dw;
};

// Outputs and inputs of a weight.
struct Shape {
  int64_t n, k;
};
absl::StatusOr<Shape> ShapeOf(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, 'x');
  Shape shape = {};
  if (parts.size() <= 2 && absl::SimpleAtoi(parts.front(), &shape.n) &&
      absl::SimpleAtoi(parts.back(), &shape.k) && std::min(shape.n, shape.k) >= 1 &&
      std::max(shape.n, shape.k) <= kMostOfASide)
    return shape;
  return absl::InvalidArgumentError(absl::StrCat("--sizes: ", Printable(text), " is neither N nor NxK, 1 to ",
                                                 kMostOfASide, " each, as 4864x896"));
}

}  // namespace

absl::Status BenchProduct(const BenchOptions& options) {
  ThreadPool pool(static_cast<int>(options.threads));
  kernels::CpuBackend backend(&pool);
  const int before = at::get_num_threads();
  at::set_num_threads(static_cast<int>(options.threads));
  const double peak = kernels::PeakGflops(pool);
  RandomStream random(1, Purpose::kInit);
  FloatBuffer panels;
  absl::Status status;
  std::vector<Shape> shapes;
  for (const std::string& size : options.sizes) {
    TEMPER_ASSIGN_OR_RETURN(const Shape shape, ShapeOf(size));
    shapes.push_back(shape);
  }
  for (const auto& [n, k] : shapes) {
    for (int64_t rows : options.rows) {
      const Layer layer(rows, n, k, random);
      at::Tensor result;
      const auto measure = [&](const char* name, absl::FunctionRef<void()> ours,
                               absl::FunctionRef<void()> theirs) {
        const Pair pair = InTurns(ours, theirs, options.rounds, options.round_ms / 1e3);
        if (!status.ok()) return;
        status = Report({.bench = absl::StrCat("product.", name),
                         .shape = absl::StrCat("m", rows, " n", n, " k", k),
                         .median_us = pair.ours * 1e6,
                         .best_us = pair.best_ours * 1e6,
                         .flop = 2.0 * static_cast<double>(rows) * static_cast<double>(n * k),
                         .peak_gflops = peak,
                         .baseline_us = pair.theirs * 1e6,
                         .best_baseline_us = pair.best_theirs * 1e6});
      };
      const kernels::Product forward = layer.Forward(), input = layer.InputGradient();
      const kernels::WeightGradient weight = layer.WeightGradient();
      measure(
          "forward",
          [&] {
            backend.Products({&forward, 1});
          },
          [&] { result = at::linear(layer.x, layer.w); });
      const kernels::PackedMatrix packed =
          backend.Pack(Layer::Of(layer.w), true, panels.Reserve(backend.PackedFloats(n, k)));
      kernels::Product held = forward;
      held.packed = &packed;
      measure(
          "packed",
          [&] {
            backend.Products({&held, 1});
          },
          [&] { result = at::linear(layer.x, layer.w); });
      measure(
          "dx",
          [&] {
            backend.Products({&input, 1});
          },
          [&] { result = at::matmul(layer.dy, layer.w); });
      measure(
          "dw",
          [&] {
            backend.WeightGradients({&weight, 1});
          },
          [&] { result = at::matmul(layer.dy.t(), layer.x); });
      if (!status.ok()) return status;
    }
  }
  at::set_num_threads(before);
  return absl::OkStatus();
}

}  // namespace temper
