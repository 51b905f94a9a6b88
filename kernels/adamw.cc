// SPDX-License-Identifier: Apache-2.0
#include "kernels/adamw.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <vector>

#include "core/check.h"
#include "kernels/backends/cpu.h"
#include "kernels/cpu/adamw.h"
#include "kernels/isa.h"

namespace temper::kernels {
namespace {

constexpr int64_t kPiece = 16384;  // elements that one piece of work takes

// Not std::pow, whose last bit depends on the C library.
double Power(double base, int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent >>= 1, base *= base) {
    if (exponent & 1) result *= base;
  }
  return result;
}

}  // namespace

AdamWFactors FactorsOf(const AdamWStep& s) {
  TEMPER_CHECK(s.step >= 1, "step is ", s.step);
  const double lr = s.learning_rate, beta1 = s.beta1, beta2 = s.beta2;
  AdamWFactors f;
  f.gradient_scale = s.gradient_scale;
  f.decay = static_cast<float>(-lr * s.weight_decay);
  f.m_rate = static_cast<float>(1 - beta1);
  f.v_keep = s.beta2;
  f.v_rate = static_cast<float>(1 - beta2);
  f.step = static_cast<float>(lr / (1 - Power(beta1, s.step)));
  f.root_correction = static_cast<float>(std::sqrt(1 - Power(beta2, s.step)));
  f.epsilon = s.epsilon;
  return f;
}

AdamWOutcome CpuBackend::AdamW(const AdamWTask& task) {
  const AdamWFactors factors = FactorsOf(task.step);
  const auto update = TEMPER_DISPATCH(AdamWPiece);
  std::mutex mutex;
  AdamWOutcome all;
  pool().ParallelFor(task.n, kPiece, [&](int64_t begin, int64_t end) {
    const AdamWOutcome part = update(factors, {.n = end - begin,
                                               .gradient = task.gradient + begin,
                                               .weight = task.weight + begin,
                                               .m = task.m + begin,
                                               .v = task.v + begin});
    const std::lock_guard<std::mutex> lock(mutex);
    all.finite &= part.finite;
    all.largest = std::max(all.largest, part.largest);
  });
  return all;
}

float CpuBackend::Largest(const float* x, int64_t n) {
  float largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(x[i]));
  return largest;
}

double CpuBackend::SumOfSquares(const float* x, int64_t n) {
  const auto squares = TEMPER_DISPATCH(SquaresOfPieces);
  const int64_t whole = n / kSquaresPiece, rest = n % kSquaresPiece;
  std::vector<double> sums(whole + 1);
  // As many pieces side by side as leave work for every thread.
  const int64_t together = whole >= kMostPieces * pool().threads() ? kMostPieces : 1;
  pool().ParallelFor(whole + 1, together, [&](int64_t begin, int64_t end) {
    if (end == whole + 1) squares({x + --end * kSquaresPiece, rest, 1}, &sums[whole]);
    squares({x + begin * kSquaresPiece, kSquaresPiece, end - begin}, &sums[begin]);
  });
  double sum = 0;
  for (const double piece : sums) sum += piece;
  return sum;
}

}  // namespace temper::kernels
