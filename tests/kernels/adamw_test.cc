// SPDX-License-Identifier: Apache-2.0
#include "kernels/adamw.h"

#include "gtest/gtest.h"
#include "tests/kernels/reference.h"

namespace temper::kernels {
namespace {

struct Parameters {
  explicit Parameters(int64_t n) : weight(Numbers(n, 1)), m(Numbers(n, 2, 0.01f)), v(Numbers(n, 3, 0.01f)) {
    for (float& x : v) x = x * x;
  }
  std::vector<float> weight, m, v;
};

AdamWStep Step(int64_t step) {
  return {
      .learning_rate = 3e-4f, .epsilon = 1e-8f, .weight_decay = 0.1f, .step = step, .gradient_scale = 0.37f};
}

AdamWTask Task(const AdamWStep& step, const std::vector<float>& gradient, Parameters& p) {
  return {.step = step,
          .n = static_cast<int64_t>(gradient.size()),
          .gradient = gradient.data(),
          .weight = p.weight.data(),
          .m = p.m.data(),
          .v = p.v.data()};
}

// The kernel's formula, a number at a time.
void ReferenceStep(const AdamWStep& s, const std::vector<float>& gradient, Parameters& p) {
  double power1 = 1, power2 = 1;
  for (int64_t i = 0; i < s.step; ++i) power1 *= s.beta1, power2 *= s.beta2;
  const float decay = static_cast<float>(-static_cast<double>(s.learning_rate) * s.weight_decay);
  const float rate1 = static_cast<float>(1 - static_cast<double>(s.beta1));
  const float rate2 = static_cast<float>(1 - static_cast<double>(s.beta2));
  const float step = static_cast<float>(s.learning_rate / (1 - power1));
  const float correction = static_cast<float>(std::sqrt(1 - power2));
  for (size_t i = 0; i < gradient.size(); ++i) {
    const float g = gradient[i] * s.gradient_scale;
    p.m[i] = std::fma(rate1, g - p.m[i], p.m[i]);
    p.v[i] = std::fma(rate2 * g, g, s.beta2 * p.v[i]);
    p.weight[i] = std::fma(p.weight[i], decay, p.weight[i]) -
                  step * p.m[i] / (std::sqrt(p.v[i]) / correction + s.epsilon);
  }
}

TEST(AdamW, EqualsItsScalarFormula) {
  for (Isa isa : SupportedIsas()) {
    IsaScope scope(isa);
    for (int threads : {1, 2, 3}) {
      TestBackend backend(threads);
      for (int64_t n : {1, 15, 16, 17, 711, 40001}) {
        Parameters p(n), reference = p;
        const std::vector<float> gradient = Numbers(n, 4);
        for (int64_t step : {1, 2, 3}) {
          backend->AdamW(Task(Step(step), gradient, p));
          ReferenceStep(Step(step), gradient, reference);
        }
        EXPECT_EQ(Differences(p.weight, reference.weight), 0) << Name(isa) << " " << n;
        EXPECT_EQ(Differences(p.m, reference.m), 0) << Name(isa) << " " << n;
        EXPECT_EQ(Differences(p.v, reference.v), 0) << Name(isa) << " " << n;
      }
    }
  }
}

// torch.optim.AdamW's formula in f64 throughout.
TEST(AdamW, FollowsTheF64OptimizerOverManySteps) {
  TestBackend backend(2);
  const int64_t n = 200;
  Parameters p(n);
  std::fill(p.m.begin(), p.m.end(), 0.0f);
  std::fill(p.v.begin(), p.v.end(), 0.0f);
  std::vector<double> w(p.weight.begin(), p.weight.end()), m(n), v(n);
  const double beta1 = 0.9f, beta2 = 0.95f, lr = 3e-4f, wd = 0.1f, scale = 0.37f;
  for (int64_t t = 1; t <= 200; ++t) {
    const std::vector<float> gradient = Numbers(n, static_cast<uint32_t>(10 + t));
    backend->AdamW(Task(Step(t), gradient, p));
    for (int64_t i = 0; i < n; ++i) {
      const double g = gradient[i] * scale;
      w[i] -= lr * wd * w[i];
      m[i] = beta1 * m[i] + (1 - beta1) * g;
      v[i] = beta2 * v[i] + (1 - beta2) * g * g;
      w[i] -= lr * (m[i] / (1 - std::pow(beta1, t))) / (std::sqrt(v[i] / (1 - std::pow(beta2, t))) + 1e-8f);
    }
  }
  for (int64_t i = 0; i < n; ++i) EXPECT_NEAR(p.weight[i], w[i], 8e-6) << i;
}

TEST(AdamW, WithoutGradientOnlyDecayMovesTheWeight) {
  TestBackend backend(1);
  Parameters p(2);
  p.weight = {2, -3};
  p.m = p.v = {0, 0};
  const std::vector<float> gradient(2);
  backend->AdamW(Task({.learning_rate = 0.5f, .weight_decay = 0.25f}, gradient, p));
  EXPECT_EQ(p.weight, (std::vector<float>{1.75f, -2.625f}));
  backend->AdamW(Task({.learning_rate = 0.5f}, gradient, p));
  EXPECT_EQ(p.weight, (std::vector<float>{1.75f, -2.625f}));
}

// One bad number anywhere, in whole vectors and in the rest behind them.
TEST(AdamW, TellsWhetherWeightsAndMomentsAreFiniteAndTheLargestWeight) {
  for (Isa isa : SupportedIsas()) {
    IsaScope scope(isa);
    TestBackend backend(2);
    for (int64_t n : {1, 15, 16, 17, 40001}) {
      for (const int64_t at : {int64_t{0}, n / 2, n - 1}) {
        const std::vector<float> gradient = Numbers(n, 4);
        const auto step = [&](const std::vector<float>& g, const Parameters& start) {
          Parameters p = start;
          const AdamWOutcome outcome = backend->AdamW(Task(Step(3), g, p));
          float largest = 0;
          bool finite = true;
          for (int64_t i = 0; i < n; ++i) {
            finite &= std::isfinite(p.weight[i]) && std::isfinite(p.m[i]) && std::isfinite(p.v[i]);
            if (!std::isnan(p.weight[i])) largest = std::max(largest, std::abs(p.weight[i]));
          }
          EXPECT_EQ(outcome.finite, finite) << Name(isa) << " " << n << " " << at;
          EXPECT_EQ(outcome.largest, largest) << Name(isa) << " " << n << " " << at;
          return outcome.finite;
        };
        EXPECT_TRUE(step(gradient, Parameters(n)));
        for (const float bad : {NAN, INFINITY, -INFINITY, 1e30f}) {  // 1e30^2 is no f32
          std::vector<float> g = gradient;
          g[at] = bad;
          EXPECT_FALSE(step(g, Parameters(n))) << bad;
        }
        for (const float bad : {NAN, INFINITY}) {
          Parameters weight(n), m(n), v(n);
          weight.weight[at] = m.m[at] = v.v[at] = bad;
          for (const Parameters& start : {weight, m, v}) EXPECT_FALSE(step(gradient, start)) << bad;
        }
        Parameters large(n);
        large.weight[at] = -1e30f;
        EXPECT_TRUE(step(gradient, large));
      }
    }
  }
}

TEST(AdamW, StepsCountFromOne) {
  TestBackend backend(1);
  Parameters p(1);
  EXPECT_ANY_THROW(backend->AdamW(Task({.step = 0}, {0}, p)));
}

TEST(SumOfSquares, IsTheChainOfItsPiecesChains) {
  constexpr int64_t kPiece = 65'536;
  for (Isa isa : SupportedIsas()) {
    IsaScope scope(isa);
    for (int threads : {1, 2, 3}) {
      TestBackend backend(threads);
      for (int64_t n :
           {int64_t{1}, int64_t{711}, kPiece - 1, kPiece, kPiece + 1, 9 * kPiece, 24 * kPiece + 5}) {
        std::vector<float> x = Numbers(n, 1);
        for (int64_t i = 0; i < n; i += 7) x[i] *= 1e6f;
        double expected = 0;
        for (int64_t begin = 0; begin < n; begin += kPiece) {
          double piece = 0;
          for (int64_t i = begin; i < std::min(n, begin + kPiece); ++i)
            piece += static_cast<double>(x[i]) * static_cast<double>(x[i]);
          expected += piece;
        }
        EXPECT_EQ(backend->SumOfSquares(x.data(), n), expected) << Name(isa) << " " << n;
      }
      EXPECT_EQ(backend->SumOfSquares(nullptr, 0), 0);
    }
  }
}

}  // namespace
}  // namespace temper::kernels
