// SPDX-License-Identifier: Apache-2.0
#include "kernels/peak.h"

#include <algorithm>
#include <chrono>

#include "core/huge_pages.h"
#include "kernels/cpu/peak.h"
#include "kernels/isa.h"

namespace temper::kernels {

double PeakGflops(ThreadPool& pool) {
  constexpr int64_t kSteps = 20000;
  constexpr double kSeconds = 0.1;  // that other programs do not disturb all of them
  const auto burn = TEMPER_DISPATCH(BurnFma);
  double best = 0, sum = 0;
  while (sum < kSeconds) {
    const auto begin = std::chrono::steady_clock::now();
    pool.ParallelFor(pool.threads() * 4, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        volatile float sink = burn(kSteps);
        (void)sink;
      }
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    sum += seconds.count();
    best = std::max(best, 4.0 * pool.threads() * kSteps * kBurnFlops / seconds.count() / 1e9);
  }
  return best;
}

double PeakReadGbps(ThreadPool& pool) {
  constexpr int64_t kFloats = int64_t{128} << 20, kPiece = int64_t{1} << 20;
  constexpr int kWalks = 5;
  FloatBuffer buffer;
  float* const memory = buffer.Reserve(kFloats);
  pool.ParallelFor(kFloats, kPiece,
                   [&](int64_t begin, int64_t end) { std::fill(memory + begin, memory + end, 1.0f); });
  const auto read = TEMPER_DISPATCH(SumFloats);
  double best = 0;
  for (int walk = 0; walk < kWalks; ++walk) {
    const auto begin = std::chrono::steady_clock::now();
    pool.ParallelFor(kFloats, kPiece, [&](int64_t first, int64_t last) {
      volatile float sink = read(memory + first, last - first);
      (void)sink;
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = std::max(best, 4.0 * kFloats / seconds.count() / 1e9);
  }
  return best;
}

}  // namespace temper::kernels
