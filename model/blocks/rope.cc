// SPDX-License-Identifier: Apache-2.0
#include "model/blocks/rope.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace temper {
namespace {

constexpr double kTwoPi = 6.283185307179586476925;
constexpr int64_t kGrain = 1024;  // positions

// Which pair turns `rotations` times over the original context.
double CorrectionDim(const RopeConfig& rope, double rotations, int64_t dim) {
  return dim * std::log(rope.original_max_positions / (rotations * kTwoPi)) / (2 * std::log(rope.theta));
}

// Between the pairs `low` and `high`, from the trained frequency to the interpolated one.
void Yarn(const RopeConfig& rope, int64_t dim, const std::vector<float>& periods,
          std::vector<float>* inverse) {
  double low = CorrectionDim(rope, rope.beta_fast, dim), high = CorrectionDim(rope, rope.beta_slow, dim);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dim - 1));
  if (low == high) high += 0.001;
  for (size_t j = 0; j < periods.size(); ++j) {
    const float ramp = std::clamp(
        (static_cast<float>(j) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0f, 1.0f);
    const float keep = 1.0f - ramp;
    const float interpolated = 1.0f / (static_cast<float>(rope.factor) * periods[j]);
    (*inverse)[j] = interpolated * (1.0f - keep) + (*inverse)[j] * keep;
  }
}

float Llama3(const RopeConfig& rope, float inverse) {
  const float factor = static_cast<float>(rope.factor), low = static_cast<float>(rope.low_freq_factor);
  const double length = static_cast<double>(rope.original_max_positions);
  const float wavelength = static_cast<float>(kTwoPi) / inverse;
  if (wavelength > static_cast<float>(length / rope.low_freq_factor)) return inverse / factor;
  if (wavelength < static_cast<float>(length / rope.high_freq_factor)) return inverse;
  const float smooth = (static_cast<float>(length) / wavelength - low) /
                       static_cast<float>(rope.high_freq_factor - rope.low_freq_factor);
  return (1.0f - smooth) * inverse / factor + smooth * inverse;
}

}  // namespace

std::vector<float> InverseFrequencies(const ModelConfig& config) {
  const RopeConfig& rope = config.rope;
  const int64_t dim = config.is_mla() ? config.qk_rope_head_dim : config.head_dim;
  std::vector<float> periods(dim / 2), inverse(dim / 2);
  for (size_t j = 0; j < inverse.size(); ++j) {
    const float exponent = static_cast<float>(2 * j) / static_cast<float>(dim);
    periods[j] = static_cast<float>(std::pow(rope.theta, static_cast<double>(exponent)));
    inverse[j] = 1.0f / periods[j];
    if (rope.type == "linear") inverse[j] /= static_cast<float>(rope.factor);
    if (rope.type == "llama3") inverse[j] = Llama3(rope, inverse[j]);
  }
  if (rope.type == "yarn") Yarn(rope, dim, periods, &inverse);
  return inverse;
}

double RopeAttentionFactor(const RopeConfig& rope) {
  if (rope.type != "yarn") return 1;
  if (rope.attention_factor != 0) return rope.attention_factor;
  if (rope.factor <= 1) return 1;
  const double log_factor = 0.1 * std::log(rope.factor);
  if (rope.mscale != 0 && rope.mscale_all_dim != 0) {
    return (rope.mscale * log_factor + 1) / (rope.mscale_all_dim * log_factor + 1);
  }
  return log_factor + 1;
}

RopeTables::RopeTables(const ModelConfig& config, kernels::Backend* backend, bool counts_only)
    : inverse_frequencies_(InverseFrequencies(config)),
      attention_factor_(RopeAttentionFactor(config.rope)),
      backend_(backend),
      counts_only_(counts_only) {}

void RopeTables::Reserve(int64_t positions) {
  if (positions <= positions_) return;
  TEMPER_CHECK(positions <= int64_t{1} << 24, positions, " positions; beyond 2^24 an f32 does not hold them");
  positions = std::max((positions + kGrain - 1) / kGrain * kGrain, 2 * positions_);
  const int64_t pairs = static_cast<int64_t>(inverse_frequencies_.size());
  positions_ = positions;
  cosines_ = backend_->Allocate(positions * pairs * 4);
  sines_ = backend_->Allocate(positions * pairs * 4);
  if (counts_only_) return;
  std::vector<float> cosine(positions * pairs), sine(positions * pairs);
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t j = 0; j < pairs; ++j) {
      const double angle = static_cast<float>(p) * inverse_frequencies_[j];
      cosine[p * pairs + j] = static_cast<float>(std::cos(angle) * attention_factor_);
      sine[p * pairs + j] = static_cast<float>(std::sin(angle) * attention_factor_);
    }
  }
  const auto fill = [&](const std::vector<float>& host, void* memory) {
    backend_->CopyFromHost(host.data(), kernels::F32(static_cast<float*>(memory), positions, pairs));
  };
  fill(cosine, cosines_.get());
  fill(sine, sines_.get());
}

}  // namespace temper
