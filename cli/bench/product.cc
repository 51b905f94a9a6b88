// SPDX-License-Identifier: Apache-2.0
// The one file of this room where LibTorch computes: it is the other side.
#include "ATen/Parallel.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/linear.h"
#include "ATen/ops/matmul.h"
#include "absl/strings/str_cat.h"
#include "cli/bench/report.h"
#include "core/huge_pages.h"
#include "core/random.h"
#include "kernels/gemm.h"
#include "kernels/peak.h"

namespace temper {
namespace {

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
  kernels::Product Forward() const {
    kernels::Product p;
    p.a = x.const_data_ptr<float>(), p.lda = k;
    p.b = w.const_data_ptr<float>(), p.ldb = k;
    p.c = y.mutable_data_ptr<float>(), p.ldc = n;
    p.m = m, p.n = n, p.k = k;
    p.k_chunks = kernels::kChunks;
    return p;
  }
  kernels::Product InputGradient() const {
    kernels::Product p;
    p.a = dy.const_data_ptr<float>(), p.lda = n;
    p.b = w.const_data_ptr<float>(), p.ldb = k, p.b_transposed = false;
    p.c = dx.mutable_data_ptr<float>(), p.ldc = k;
    p.m = m, p.n = k, p.k = n;
    p.k_chunks = kernels::kChunks;
    return p;
  }
  kernels::WeightGradient WeightGradient() const {
    return {dy.const_data_ptr<float>(),
            n,
            x.const_data_ptr<float>(),
            k,
            dw.mutable_data_ptr<float>(),
            k,
            m,
            n,
            k};
  }

  int64_t m, n, k;
  at::Tensor x, w, dy, y, dx, dw;
};

}  // namespace

absl::Status BenchProduct(const BenchOptions& options) {
  ThreadPool pool(static_cast<int>(options.threads));
  const int before = at::get_num_threads();
  at::set_num_threads(static_cast<int>(options.threads));
  const double peak = kernels::PeakGflops(pool);
  RandomStream random(1, Purpose::kInit);
  FloatBuffer panels;
  absl::Status status;
  for (int64_t size : options.sizes) {
    for (int64_t rows : options.rows) {
      const Layer layer(rows, size, size, random);
      at::Tensor result;
      const auto measure = [&](const char* name, absl::FunctionRef<void()> ours,
                               absl::FunctionRef<void()> theirs) {
        const Pair pair = InTurns(ours, theirs, options.rounds, options.round_ms / 1e3);
        if (!status.ok()) return;
        status = Report({.bench = absl::StrCat("product.", name),
                         .shape = absl::StrCat("m", rows, " n", size, " k", size),
                         .median_us = pair.ours * 1e6,
                         .best_us = pair.best_ours * 1e6,
                         .flop = 2.0 * static_cast<double>(rows) * static_cast<double>(size * size),
                         .peak_gflops = peak,
                         .baseline_us = pair.theirs * 1e6,
                         .best_baseline_us = pair.best_theirs * 1e6});
      };
      const kernels::Product forward = layer.Forward(), input = layer.InputGradient();
      const kernels::WeightGradient weight = layer.WeightGradient();
      measure(
          "forward",
          [&] {
            kernels::Products({&forward, 1}, pool);
          },
          [&] { result = at::linear(layer.x, layer.w); });
      const kernels::PackedMatrix packed =
          kernels::Pack(layer.w.const_data_ptr<float>(), size, true, size, size,
                        panels.Reserve(kernels::PackedFloats(size, size)), pool);
      kernels::Product held = forward;
      held.packed = &packed;
      measure(
          "packed",
          [&] {
            kernels::Products({&held, 1}, pool);
          },
          [&] { result = at::linear(layer.x, layer.w); });
      measure(
          "dx",
          [&] {
            kernels::Products({&input, 1}, pool);
          },
          [&] { result = at::matmul(layer.dy, layer.w); });
      measure(
          "dw",
          [&] {
            kernels::WeightGradients({&weight, 1}, pool);
          },
          [&] { result = at::matmul(layer.dy.t(), layer.x); });
      if (!status.ok()) return status;
    }
  }
  at::set_num_threads(before);
  return absl::OkStatus();
}

}  // namespace temper
