// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/advantage.h"

#include <cmath>

namespace temper {

bool HasSpread(absl::Span<const std::optional<double>> rewards) {
  const std::optional<double>* first = nullptr;
  for (const std::optional<double>& reward : rewards) {
    if (!reward.has_value()) continue;
    if (first == nullptr) first = &reward;
    if (**first != *reward) return true;
  }
  return false;
}

std::vector<double> GroupAdvantages(absl::Span<const std::optional<double>> rewards,
                                    const AdvantageConfig& config) {
  std::vector<double> advantages(rewards.size(), 0.0);
  if (!HasSpread(rewards)) return advantages;
  double sum = 0;
  int count = 0;
  for (const std::optional<double>& reward : rewards) {
    if (reward.has_value()) sum += *reward, ++count;
  }
  const double mean = sum / count;
  double squares = 0;
  for (const std::optional<double>& reward : rewards) {
    if (reward.has_value()) squares += (*reward - mean) * (*reward - mean);
  }
  const double deviation = std::sqrt(squares / count);
  for (size_t i = 0; i < rewards.size(); ++i) {
    if (!rewards[i].has_value()) continue;
    advantages[i] = *rewards[i] - mean;
    if (config.divide_by_std) advantages[i] /= deviation + config.epsilon;
  }
  return advantages;
}

}  // namespace temper
