// SPDX-License-Identifier: Apache-2.0
// Training that is finite and yet beyond sense.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/update/step.h"

namespace temper {

struct Alarm {
  std::string figure;  // of metrics.jsonl: "alarm/loss"
  double value = 0;
  std::string text;  // what is beyond sense, against what, and what to look at
};

// Those of an update: the loss against that of guessing among the vocabulary, the gradient's norm, and the
// largest weight against the largest at the start. docs/metrics.md says why these bounds.
std::vector<Alarm> AlarmsOf(const StepResult& update, int64_t vocab_size);

}  // namespace temper
