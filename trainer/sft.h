// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/statusor.h"
#include "trainer/evaluation.h"
#include "trainer/stage.h"

namespace temper {

// Supervised fine-tuning, and pretraining of a tiny base (the same loop from random weights). Leaves its last
// checkpoint in the stage's directory.
absl::StatusOr<StagePolicy> RunSft(const StageContext& context);

// What one update of either tells.
Figures SftFigures(const StepResult& step, double learning_rate, double seconds);

}  // namespace temper
