// SPDX-License-Identifier: Apache-2.0
#include "trainer/update/loss.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace temper {

void PolicyLoss(const PolicyLossConfig& config, const LossDenominators& denominators,
                const TrainSequence& sequence, absl::Span<const float> logprobs, absl::Span<float> dlogprobs,
                LossSums* sums) {
  const size_t n = logprobs.size();
  TEMPER_CHECK(sequence.old_logprobs.size() == n && dlogprobs.size() == n);
  TEMPER_CHECK(config.kl_coef == 0 || sequence.ref_logprobs.size() == n, "reference logprobs are missing");
  double scale = sequence.weight;
  switch (config.normalization) {
    case LossNormalization::kSequenceMean:
      scale /= denominators.sequences * static_cast<double>(n);
      break;
    case LossNormalization::kTokenMean:
      scale /= denominators.tokens;
      break;
    case LossNormalization::kConstant:
      scale /= denominators.sequences * static_cast<double>(config.constant_length);
      break;
  }
  // A sequence-level ratio is the geometric mean of the tokens' (GSPO, arXiv 2507.18071, eq. 7).
  double mean_log_ratio = 0;
  if (config.ratio_level == RatioLevel::kSequence) {
    for (size_t i = 0; i < n; ++i)
      mean_log_ratio +=
          (static_cast<double>(logprobs[i]) - sequence.old_logprobs[i]) / static_cast<double>(n);
  }
  const double advantage = sequence.advantage;
  for (size_t i = 0; i < n; ++i) {
    const double logprob = logprobs[i], old = sequence.old_logprobs[i];
    const double log_ratio = config.ratio_level == RatioLevel::kSequence ? mean_log_ratio : logprob - old;
    const double ratio = std::exp(log_ratio);
    const double cut = std::clamp(ratio, 1.0 - config.clip_low, 1.0 + config.clip_high);
    const bool clipped = cut * advantage < ratio * advantage;
    double loss = -(clipped ? cut : ratio) * advantage;
    double gradient = clipped ? 0.0 : -ratio * advantage;
    if (config.kl_coef != 0) {
      const double difference = sequence.ref_logprobs[i] - logprob;
      const double kl = std::exp(difference) - difference - 1.0;
      loss += config.kl_coef * kl;
      gradient += config.kl_coef * (1.0 - std::exp(difference));
      sums->kl += kl;
    }
    dlogprobs[i] = static_cast<float>(gradient * scale);
    sums->loss += loss * scale;
    sums->clipped += clipped ? 1 : 0;
    sums->ratio += ratio;
    sums->nll -= logprob;
    sums->tokens += 1;
    const bool both_none = std::isnan(logprob) && std::isnan(old);  // a policy that is NaN itself
    if (logprobs[i] != sequence.old_logprobs[i] && !both_none) {
      sums->unequal += 1;
      sums->max_difference = std::max(sums->max_difference, std::abs(logprob - old));
    }
  }
}

namespace {

// Row i tells of token i + 2.
template <typename Body>
void ForEachMtpRow(const TrainSequence& sequence, const Body& body) {
  for (const CountedRange& range : sequence.ranges)
    for (int64_t token = std::max<int64_t>(range.begin, 2); token < range.end; ++token) body(token - 2);
}

}  // namespace

int64_t MtpTokens(const TrainSequence& sequence) {
  int64_t tokens = 0;
  ForEachMtpRow(sequence, [&](int64_t) { ++tokens; });
  return tokens;
}

void MtpLoss(const MtpLossTask& task, const TrainSequence& sequence, LossSums* sums) {
  const double scale = task.scale * sequence.weight;
  ForEachMtpRow(sequence, [&](int64_t row) {
    task.dlogprobs[row] = static_cast<float>(-scale);
    sums->mtp_nll -= task.logprobs[row];
    sums->mtp_right += (*task.likeliest)[task.first + row] ? 1 : 0;
    sums->mtp_tokens += 1;
  });
}

void CrossEntropyLoss(const LossDenominators& denominators, const TrainSequence& sequence,
                      absl::Span<const float> logprobs, absl::Span<float> dlogprobs, LossSums* sums) {
  const double scale = sequence.weight / denominators.tokens;
  for (size_t i = 0; i < logprobs.size(); ++i) {
    dlogprobs[i] = static_cast<float>(-scale);
    sums->loss -= static_cast<double>(logprobs[i]) * scale;
    sums->nll -= logprobs[i];
    sums->tokens += 1;
  }
}

}  // namespace temper
