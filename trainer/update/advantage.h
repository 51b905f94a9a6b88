// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace temper {

// How a group's rewards become advantages.
struct AdvantageConfig {
  bool divide_by_std = true;  // GRPO (DeepSeekMath, section 4.1.2); false: Dr. GRPO
  double epsilon = 1e-4;      // added to the standard deviation
};

// (r - mean) / (std + epsilon) over the samples that have a reward; population standard deviation, f64,
// samples ascending. A sample without a reward (infrastructure error, masked) gets 0 and does not count. A
// group without spread gives zeros.
std::vector<double> GroupAdvantages(absl::Span<const std::optional<double>> rewards,
                                    const AdvantageConfig& config);

// True if at least two rewards differ.
bool HasSpread(absl::Span<const std::optional<double>> rewards);

}  // namespace temper
