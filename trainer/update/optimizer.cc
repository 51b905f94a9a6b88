// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/optimizer.h"

#include <algorithm>
#include <cmath>

#include "kernels/backend.h"

namespace temper {
namespace {

// Growth counts from no more than this: weights that begin beyond it are beyond sense as they are.
constexpr float kSensibleWeight = 1e4f;

}  // namespace

double LearningRate(const OptimizerConfig& config, int64_t step, int64_t steps) {
  double rate = config.learning_rate;
  if (config.warmup_steps > 0 && step < config.warmup_steps) {
    rate *= static_cast<double>(step + 1) / static_cast<double>(config.warmup_steps);
  }
  const double done = steps > 1 ? static_cast<double>(step) / static_cast<double>(steps - 1) : 0.0;
  switch (config.schedule) {
    case ScheduleKind::kConstant:
      return rate;
    case ScheduleKind::kLinear:
      return rate * (1.0 - (1.0 - config.final_fraction) * done);
    case ScheduleKind::kCosine:
      return rate * (config.final_fraction +
                     (1.0 - config.final_fraction) * 0.5 * (1.0 + std::cos(3.14159265358979323846 * done)));
  }
  return rate;
}

Optimizer::Optimizer(CausalLm* model) : model_(model), figures_(model) {
  kernels::Backend& backend = model->backend();
  const int64_t floats = model->weights().TrainedFloats();
  for (at::Tensor* const moment : {&m_, &v_}) {
    *moment = NewTensor(backend, {floats});
    backend.Zero(kernels::F32(moment->mutable_data_ptr<float>(), 1, floats));
  }
  for (const Parameter& parameter : model->parameters().list()) {
    if (!parameter.trained) continue;
    largest_.push_back(backend.Largest(parameter.value.const_data_ptr<float>(), parameter.elements));
  }
  largest_ = figures_.Largest(largest_);
  for (float& largest : largest_) largest = std::min(largest, kSensibleWeight);
}

OptimizerStep Optimizer::Step(const OptimizerConfig& config, double learning_rate, const float* gradients) {
  kernels::Backend& backend = model_->backend();
  OptimizerStep result;
  const double norm = result.gradient_norm = std::sqrt(figures_.SumOfSquares(gradients));
  result.applied = std::isfinite(norm);
  if (!result.applied) return result;

  kernels::AdamWStep step;
  step.learning_rate = static_cast<float>(learning_rate);
  step.beta1 = static_cast<float>(config.beta1);
  step.beta2 = static_cast<float>(config.beta2);
  step.epsilon = static_cast<float>(config.epsilon);
  step.step = ++steps_;
  if (config.clip_norm > 0 && norm > config.clip_norm)
    step.gradient_scale = static_cast<float>(config.clip_norm / (norm + 1e-6));
  std::vector<float> largest, not_finite;
  for (Parameter& parameter : model_->parameters().list()) {
    if (!parameter.trained) continue;
    step.weight_decay = parameter.shape.size() >= 2 ? static_cast<float>(config.weight_decay) : 0.0f;
    const kernels::AdamWOutcome outcome =
        backend.AdamW({.step = step,
                       .n = parameter.elements,
                       .gradient = gradients + parameter.offset,
                       .weight = parameter.value.mutable_data_ptr<float>(),
                       .m = m_.mutable_data_ptr<float>() + parameter.offset,
                       .v = v_.mutable_data_ptr<float>() + parameter.offset});
    largest.push_back(outcome.largest);
    not_finite.push_back(outcome.finite ? 0.0f : 1.0f);
  }
  largest = figures_.Largest(largest);
  not_finite = figures_.Largest(not_finite);
  for (size_t i = 0; i < largest.size(); ++i) {
    if (not_finite[i] > 0 && result.not_finite.empty()) result.not_finite = figures_.name(i);
    const double growth = largest[i] / std::max(1.0f, largest_[i]);
    if (growth > result.growth) {
      result.grown = figures_.name(i);
      result.growth = growth;
      result.largest = largest[i];
    }
  }
  return result;
}

}  // namespace temper
