// SPDX-License-Identifier: Apache-2.0
// Each option against the formula of its paper, written out for one sequence, and against finite differences.
#include "trainer/update/loss.h"

#include <cmath>
#include <string>

#include "core/random.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

constexpr LossDenominators kDenominators{.sequences = 7, .tokens = 61};

// Log-ratios from -2.5 to 2.5, so that every clip range below cuts some.
struct Drawn {
  TrainSequence sequence;
  std::vector<float> logprobs;
};
Drawn Draw(uint64_t seed, float advantage, size_t tokens = 13) {
  RandomStream random(RandomKey(seed, "loss", 0, ""), Purpose::kTask);
  Drawn drawn;
  drawn.sequence.tokens.assign(tokens + 4, 0);
  drawn.sequence.CountFrom(4);
  drawn.sequence.advantage = advantage;
  for (size_t i = 0; i < tokens; ++i) {
    const float logprob = -4.0f * static_cast<float>(random.NextUniform());
    drawn.logprobs.push_back(logprob);
    drawn.sequence.old_logprobs.push_back(logprob + 5.0f * static_cast<float>(random.NextUniform()) - 2.5f);
    drawn.sequence.ref_logprobs.push_back(logprob + 2.0f * static_cast<float>(random.NextUniform()) - 1.0f);
  }
  return drawn;
}

// DeepSeekMath eq. 3 with its estimator of the KL (eq. 4); GSPO eq. 7; the denominators of GRPO, DAPO and Dr.
// GRPO.
double Reference(const PolicyLossConfig& config, const TrainSequence& sequence,
                 const std::vector<double>& logprobs) {
  const double length = static_cast<double>(logprobs.size()), advantage = sequence.advantage;
  double sequence_ratio = 1;
  for (size_t i = 0; i < logprobs.size(); ++i)
    sequence_ratio *=
        std::pow(std::exp(logprobs[i]) / std::exp(double{sequence.old_logprobs[i]}), 1 / length);
  double sum = 0;
  for (size_t i = 0; i < logprobs.size(); ++i) {
    const double ratio = config.ratio_level == RatioLevel::kSequence
                             ? sequence_ratio
                             : std::exp(logprobs[i]) / std::exp(double{sequence.old_logprobs[i]});
    const double cut = std::min(std::max(ratio, 1 - config.clip_low), 1 + config.clip_high);
    const double to_reference = std::exp(double{sequence.ref_logprobs[i]}) / std::exp(logprobs[i]);
    sum += -std::min(ratio * advantage, cut * advantage) +
           config.kl_coef * (to_reference - std::log(to_reference) - 1);
  }
  sum *= sequence.weight;
  if (config.normalization == LossNormalization::kTokenMean) return sum / kDenominators.tokens;
  if (config.normalization == LossNormalization::kConstant)
    return sum / static_cast<double>(config.constant_length) / kDenominators.sequences;
  return sum / length / kDenominators.sequences;
}

struct Result {
  LossSums sums;
  std::vector<float> gradient;
};
Result Losses(const PolicyLossConfig& config, const TrainSequence& sequence,
              const std::vector<float>& logprobs) {
  Result result;
  result.gradient.resize(logprobs.size(), 99.0f);
  PolicyLoss(config, kDenominators, sequence, logprobs, absl::MakeSpan(result.gradient), &result.sums);
  return result;
}

void ExpectTheFormula(const PolicyLossConfig& config, const std::string& what) {
  for (float advantage : {1.3f, -0.7f, 0.0f}) {
    const Drawn drawn = Draw(advantage > 0 ? 1 : 2, advantage);
    const Result result = Losses(config, drawn.sequence, drawn.logprobs);
    std::vector<double> logprobs(drawn.logprobs.begin(), drawn.logprobs.end());
    EXPECT_NEAR(result.sums.loss, Reference(config, drawn.sequence, logprobs), 1e-12) << what;
    for (size_t i = 0; i < logprobs.size(); ++i) {
      constexpr double kStep = 1e-6;
      const double at = logprobs[i];
      logprobs[i] = at + kStep;
      const double above = Reference(config, drawn.sequence, logprobs);
      logprobs[i] = at - kStep;
      const double slope = (above - Reference(config, drawn.sequence, logprobs)) / (2 * kStep);
      logprobs[i] = at;
      EXPECT_NEAR(result.gradient[i], slope, 1e-8 + 1e-6 * std::abs(slope)) << what << ", token " << i;
    }
  }
}

TEST(PolicyLoss, IsTheFormulaForEveryRatioLevelNormalisationClipAndKl) {
  for (RatioLevel level : {RatioLevel::kToken, RatioLevel::kSequence}) {
    for (LossNormalization normalization :
         {LossNormalization::kSequenceMean, LossNormalization::kTokenMean, LossNormalization::kConstant}) {
      for (const auto& [low, high] : {std::pair(0.2, 0.2), std::pair(0.1, 0.28), std::pair(10.0, 10.0)}) {
        for (double kl_coef : {0.0, 0.04}) {
          const PolicyLossConfig config{.ratio_level = level,
                                        .clip_low = low,
                                        .clip_high = high,
                                        .kl_coef = kl_coef,
                                        .normalization = normalization,
                                        .constant_length = 32};
          ExpectTheFormula(config, "level " + std::to_string(static_cast<int>(level)) + ", normalisation " +
                                       std::to_string(static_cast<int>(normalization)) + ", clip " +
                                       std::to_string(low) + ", kl " + std::to_string(kl_coef));
        }
      }
    }
  }
}

TEST(PolicyLoss, CutsARatioOnlyOnTheSideThatTheAdvantagePushes) {
  TrainSequence sequence;
  sequence.old_logprobs = {-1, -1, -1};
  const std::vector<float> logprobs = {-1.5f, -1.0f, -0.5f};  // ratios 0.61, 1, 1.65
  const PolicyLossConfig config{.kl_coef = 0};
  sequence.advantage = 1;
  const Result up = Losses(config, sequence, logprobs);
  EXPECT_EQ(up.sums.clipped, 1);
  EXPECT_EQ(up.gradient[2], 0);
  EXPECT_LT(up.gradient[0], 0);
  sequence.advantage = -1;
  const Result down = Losses(config, sequence, logprobs);
  EXPECT_EQ(down.sums.clipped, 1);
  EXPECT_EQ(down.gradient[0], 0);
  EXPECT_GT(down.gradient[2], 0);
  EXPECT_EQ(down.sums.tokens, 3);
  EXPECT_DOUBLE_EQ(down.sums.ratio, std::exp(-0.5) + 1 + std::exp(0.5));
}

TEST(PolicyLoss, WithR1sClipOfTenHasNoLowerBoundAndAnUpperOneOfEleven) {
  TrainSequence sequence;
  sequence.old_logprobs = {-9, -3, -3};
  const std::vector<float> logprobs = {-0.01f, -0.7f, -9.0f};  // ratios 8000, 10, 0.002
  const PolicyLossConfig config{.clip_low = 10, .clip_high = 10, .kl_coef = 0};
  sequence.advantage = 1;
  const Result up = Losses(config, sequence, logprobs);
  EXPECT_EQ(up.sums.clipped, 1);
  EXPECT_EQ(up.gradient[0], 0);
  sequence.advantage = -1;
  EXPECT_EQ(Losses(config, sequence, logprobs).sums.clipped, 0);
}

TEST(PolicyLoss, OfTheSamplerItselfHasRatioOneKlZeroAndTheAdvantageAsGradient) {
  Drawn drawn = Draw(3, 0.75f, 16);
  drawn.sequence.old_logprobs = drawn.sequence.ref_logprobs = drawn.logprobs;
  const Result result = Losses({.kl_coef = 0.5, .normalization = LossNormalization::kTokenMean},
                               drawn.sequence, drawn.logprobs);
  EXPECT_EQ(result.sums.ratio, 16);
  EXPECT_EQ(result.sums.kl, 0);
  EXPECT_EQ(result.sums.clipped, 0);
  EXPECT_EQ(result.sums.unequal, 0);
  EXPECT_EQ(result.sums.max_difference, 0);
  for (float gradient : result.gradient) EXPECT_EQ(gradient, static_cast<float>(-0.75 * (1.0 / 61)));
}

TEST(PolicyLoss, CountsTokensThatAreNotTheStoredOnes) {
  Drawn drawn = Draw(4, 1);
  drawn.sequence.old_logprobs = drawn.logprobs;
  drawn.sequence.old_logprobs[2] = std::nextafter(drawn.logprobs[2], 0.0f);
  drawn.sequence.old_logprobs[5] = drawn.logprobs[5] + 0.25f;
  const Result result = Losses({}, drawn.sequence, drawn.logprobs);
  EXPECT_EQ(result.sums.unequal, 2);
  EXPECT_NEAR(result.sums.max_difference, 0.25, 1e-6);
}

TEST(PolicyLoss, OfAMaskedSequencePushesNothing) {
  Drawn drawn = Draw(5, 1);
  drawn.sequence.weight = 0;
  const Result result = Losses({}, drawn.sequence, drawn.logprobs);
  EXPECT_EQ(result.sums.loss, 0);
  for (float gradient : result.gradient) EXPECT_EQ(gradient, 0);
}

TEST(PolicyLoss, WithoutKlNeedsNoReference) {
  Drawn drawn = Draw(6, 1);
  drawn.sequence.ref_logprobs.clear();
  EXPECT_EQ(Losses({.kl_coef = 0}, drawn.sequence, drawn.logprobs).sums.kl, 0);
  EXPECT_THROW(Losses({.kl_coef = 0.1}, drawn.sequence, drawn.logprobs), std::logic_error);
}

TEST(MtpLoss, IsOfTheTokensBehindTheFirstTwoEachTwoRowsOn) {
  TrainSequence sequence;
  sequence.tokens.assign(9, 0);
  sequence.ranges = {{1, 4}, {7, 9}};  // the module predicts tokens 2, 3, 7 and 8
  EXPECT_EQ(MtpTokens(sequence), 4);
  const std::vector<float> logprobs = {-1, -2, -4, -8, -16, -32, -64, -128};
  const std::vector<bool> likeliest = {true, true, false, true, true, true, false, true, false, true};
  std::vector<float> dlogprobs(8);
  LossSums sums;
  MtpLoss({.scale = 0.25,
           .logprobs = logprobs,
           .likeliest = &likeliest,
           .first = 2,
           .dlogprobs = absl::MakeSpan(dlogprobs)},
          sequence, &sums);
  EXPECT_EQ(dlogprobs, (std::vector<float>{-0.25, -0.25, 0, 0, 0, -0.25, -0.25, 0}));
  EXPECT_EQ(sums.mtp_nll, 1 + 2 + 32 + 64);
  EXPECT_EQ(sums.mtp_tokens, 4);
  EXPECT_EQ(sums.mtp_right, 2);  // rows 1 and 5, of the four
  EXPECT_EQ(sums.loss, 0);
}

TEST(CrossEntropyLoss, IsTheMeanOverTheUpdatesTokens) {
  const Drawn drawn = Draw(7, 0);
  std::vector<float> gradient(drawn.logprobs.size());
  LossSums sums;
  CrossEntropyLoss(kDenominators, drawn.sequence, drawn.logprobs, absl::MakeSpan(gradient), &sums);
  double nll = 0;
  for (float logprob : drawn.logprobs) nll -= logprob;
  EXPECT_NEAR(sums.loss, nll / 61, 1e-12);
  EXPECT_NEAR(sums.nll, nll, 1e-12);
  EXPECT_EQ(sums.tokens, 13);
  for (float d : gradient) EXPECT_EQ(d, static_cast<float>(-1.0 / 61));
}

}  // namespace
}  // namespace temper
