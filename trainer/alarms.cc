// SPDX-License-Identifier: Apache-2.0
#include "trainer/alarms.h"

#include <cmath>

#include "absl/strings/str_format.h"

namespace temper {
namespace {

constexpr double kLossesOfGuessing = 10;
constexpr double kGradientNorm = 1e5;
constexpr double kGrowth = 100;

}  // namespace

std::vector<Alarm> AlarmsOf(const StepResult& update, int64_t vocab_size) {
  std::vector<Alarm> alarms;
  if (update.skipped) return alarms;
  const double guessing = std::log(static_cast<double>(vocab_size));
  const double loss = update.sums.loss;
  // In this form a NaN is beyond, too.
  if (!(std::abs(loss) <= kLossesOfGuessing * guessing)) {
    alarms.push_back({"alarm/loss", loss,
                      absl::StrFormat("the loss is %.4g, and guessing among %d tokens has %.3g", loss,
                                      vocab_size, guessing)});
  }
  if (update.gradient_norm > kGradientNorm) {
    alarms.push_back(
        {"alarm/gradient_norm", update.gradient_norm,
         absl::StrFormat("the gradient's norm is %.4g, beyond %g", update.gradient_norm, kGradientNorm)});
  }
  if (update.growth > kGrowth) {
    alarms.push_back({"alarm/weights", update.largest,
                      absl::StrFormat("%s has a weight of %.4g, more than %g times the largest at the start",
                                      update.grown, update.largest, kGrowth)});
  }
  return alarms;
}

}  // namespace temper
