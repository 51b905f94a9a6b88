// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/optimizer.h"

#include <cmath>

#include "gtest/gtest.h"
#include "tests/model/odd_models.h"

namespace temper {
namespace {

TEST(LearningRate, WarmsUpAndFallsToTheFinalFractionAtTheLastStep) {
  OptimizerConfig config{.learning_rate = 2.0, .warmup_steps = 4, .final_fraction = 0.25};
  for (int64_t step = 0; step < 4; ++step)
    EXPECT_DOUBLE_EQ(LearningRate(config, step, 20), 2.0 * static_cast<double>(step + 1) / 4);
  EXPECT_DOUBLE_EQ(LearningRate(config, 19, 20), 2.0);

  config.warmup_steps = 0;
  for (ScheduleKind schedule : {ScheduleKind::kLinear, ScheduleKind::kCosine}) {
    config.schedule = schedule;
    EXPECT_DOUBLE_EQ(LearningRate(config, 0, 21), 2.0);
    EXPECT_DOUBLE_EQ(LearningRate(config, 10, 21), 2.0 * 0.625);  // halfway
    EXPECT_DOUBLE_EQ(LearningRate(config, 20, 21), 0.5);
    EXPECT_DOUBLE_EQ(LearningRate(config, 0, 1), 2.0);
    for (int64_t step = 1; step < 21; ++step)
      EXPECT_LT(LearningRate(config, step, 21), LearningRate(config, step - 1, 21));
  }
  config.schedule = ScheduleKind::kCosine;
  EXPECT_DOUBLE_EQ(LearningRate(config, 5, 21), 2.0 * (0.25 + 0.75 * (1 + std::cos(M_PI / 4)) / 2));
}

std::vector<float> RandomGradient(const CausalLm& model, float scale = 1) {
  RandomStream random(RandomKey(8, "gradient", 0, ""), Purpose::kTask);
  std::vector<float> gradient(model.weights().TrainedFloats());
  for (float& g : gradient) g = scale * static_cast<float>(random.NextNormal());
  return gradient;
}

bool Same(const Parameters& a, const Parameters& b) {
  for (size_t i = 0; i < a.list().size(); ++i)
    if (!a.list()[i].value.equal(b.list()[i].value)) return false;
  return true;
}

TEST(Optimizer, LeavesEverythingWhereTheGradientIsNotFinite) {
  Policy policy(OddDeepseek());
  Optimizer optimizer(&policy.model);
  std::vector<float> gradient = RandomGradient(policy.model);
  ASSERT_TRUE(std::isfinite(optimizer.Step({}, 1e-3, gradient.data()).gradient_norm));
  const Parameters before = policy.model.parameters().Clone();
  const at::Tensor m = optimizer.m().clone(), v = optimizer.v().clone();
  for (float bad : {NAN, INFINITY, -INFINITY}) {
    gradient[gradient.size() / 2] = bad;
    EXPECT_FALSE(std::isfinite(optimizer.Step({}, 1e-3, gradient.data()).gradient_norm));
    EXPECT_TRUE(Same(before, policy.model.parameters()));
    EXPECT_TRUE(m.equal(optimizer.m()) && v.equal(optimizer.v()));
    EXPECT_EQ(optimizer.steps(), 1);
  }
}

TEST(Optimizer, GivesTheNormBeforeClippingAndStepsAsIfTheGradientHadTheNormAsked) {
  Policy clipped(OddQwen2()), scaled(OddQwen2());
  Optimizer one(&clipped.model), other(&scaled.model);
  const std::vector<float> gradient = RandomGradient(clipped.model);
  double squares = 0;
  for (float g : gradient) squares += static_cast<double>(g) * g;
  OptimizerConfig config{.epsilon = 0.1, .clip_norm = 0.5};
  const double norm = one.Step(config, 1e-2, gradient.data()).gradient_norm;
  EXPECT_NEAR(norm, std::sqrt(squares), 1e-9 * norm);
  std::vector<float> small = gradient;
  for (float& g : small) g = static_cast<float>(g * 0.5 / norm);
  config.clip_norm = 0;
  EXPECT_NEAR(other.Step(config, 1e-2, small.data()).gradient_norm, 0.5, 1e-6);
  EXPECT_TRUE(one.m().allclose(other.m(), 1e-4, 1e-9));
  // A norm within the limit is left alone, to the bit.
  config.clip_norm = 1;
  Policy free(OddQwen2());
  Optimizer third(&free.model);
  third.Step(config, 1e-2, small.data());
  EXPECT_TRUE(third.m().equal(other.m()));
  EXPECT_TRUE(Same(free.model.parameters(), scaled.model.parameters()));
}

TEST(Optimizer, DecaysMatricesAloneAndTouchesNothingThatIsNotTrained) {
  Policy policy(OddDeepseek());
  Optimizer optimizer(&policy.model);
  const Parameters before = policy.model.parameters().Clone();
  const std::vector<float> zero(policy.model.weights().TrainedFloats(), 0.0f);
  EXPECT_EQ(optimizer.Step({.weight_decay = 0.5}, 0.25, zero.data()).gradient_norm, 0);
  int matrices = 0, vectors = 0, frozen = 0;
  for (size_t i = 0; i < before.list().size(); ++i) {
    const Parameter& was = before.list()[i];
    const at::Tensor& is = policy.model.parameters().list()[i].value;
    const bool decays = was.trained && was.value.dim() == 2;
    ++(decays ? matrices : was.trained ? vectors : frozen);
    const float factor = decays ? 0.875f : 1.0f;
    for (int64_t k = 0; k < is.numel(); ++k) {
      ASSERT_FLOAT_EQ(is.const_data_ptr<float>()[k], factor * was.value.const_data_ptr<float>()[k])
          << was.name;
    }
  }
  EXPECT_GT(matrices, 0);
  EXPECT_GT(vectors, 0);
  EXPECT_GT(frozen, 0);
}

}  // namespace
}  // namespace temper
