// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "core/config/config.h"
#include "model/causal_lm.h"
#include "trainer/update/tensor_figures.h"

namespace temper {

// A learning rate over the updates of a stage.
enum class ScheduleKind { kConstant, kLinear, kCosine };

struct OptimizerConfig {
  double learning_rate = 1e-5;
  ScheduleKind schedule = ScheduleKind::kConstant;
  int64_t warmup_steps = 0;     // linear from learning_rate / warmup_steps
  double final_fraction = 0.1;  // of the learning rate at the last step (linear, cosine)
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.0;  // of matrices; vectors (norms, biases) never decay
  double clip_norm = 1.0;     // 0: no clipping

  template <class V>
  void Fields(V& v) {
    v.Field("learning_rate", learning_rate, "Peak learning rate of AdamW.", Between(0.0, 10.0));
    v.Choice("schedule", schedule,
             {{"constant", ScheduleKind::kConstant},
              {"linear", ScheduleKind::kLinear},
              {"cosine", ScheduleKind::kCosine}},
             "How the learning rate falls over the stage's steps.");
    v.Field("warmup_steps", warmup_steps, "Updates of linear warm-up.", AtLeast(0));
    v.Field("final_fraction", final_fraction,
            "Share of the learning rate left at the last step (linear, cosine).", Between(0.0, 1.0));
    // AdamW computes in f32, where 0.99999998 is 1: a moment would never move, and its correction divide by
    // 0.
    v.Field("beta1", beta1, "AdamW's decay of the first moment.", Between(0.0, 0.9999999));
    v.Field("beta2", beta2, "AdamW's decay of the second moment.", Between(0.0, 0.9999999));
    v.Field("epsilon", epsilon, "AdamW's epsilon.", Between(1e-37, 1.0));
    v.Field("weight_decay", weight_decay, "Decoupled weight decay of matrices; norms and biases never decay.",
            Between(0.0, 1.0));
    v.Field("clip_norm", clip_norm, "The gradient's norm is cut to this; 0: never.", Between(0.0, 1e30));
    v.Check(learning_rate == 0 || learning_rate >= 1e-37, "learning_rate", "is 0 in f32; the least is 1e-37");
    v.Check(clip_norm == 0 || clip_norm >= 1e-30, "clip_norm",
            "would cut gradients to 0 in f32; the least is 1e-30, and 0 is no clipping");
  }
};

// step counts from 0.
double LearningRate(const OptimizerConfig& config, int64_t step, int64_t steps);

// What an update's step made of the policy.
struct OptimizerStep {
  double gradient_norm = 0;  // before clipping
  bool applied = true;       // false: the gradient has no norm, and everything is as it was
  // The first tensor, by name, that has a weight or a moment that is not finite now; empty: none.
  std::string not_finite;
  // The tensor whose largest weight has grown most since the optimizer was made (from 1, if it was less), and
  // that weight.
  std::string grown;
  double growth = 0, largest = 0;
};

// AdamW over the policy's trained parameters. The moments are flat by the layout, as the gradients, and lie
// with them in the backend's memory.
class Optimizer {
 public:
  explicit Optimizer(CausalLm* model);

  // Clips the gradient's norm and steps.
  OptimizerStep Step(const OptimizerConfig& config, double learning_rate, const float* gradients);

  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }
  at::Tensor& m() { return m_; }
  at::Tensor& v() { return v_; }
  const at::Tensor& m() const { return m_; }
  const at::Tensor& v() const { return v_; }

 private:
  CausalLm* model_;
  TensorFigures figures_;
  at::Tensor m_, v_;
  std::vector<float> largest_;  // weight of each trained tensor of the policy, at the beginning
  int64_t steps_ = 0;
};

}  // namespace temper
