// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/backend.h"
#include "model/config/config.h"

namespace temper {

// The angle a position adds to each pair of a head, [rotated dim / 2]: f32 arithmetic in the order of
// Transformers' modeling_rope_utils, so that its checkpoints see the frequencies they were trained with.
// YaRN: arXiv 2309.00071, section 3; llama3: the code of Llama 3.1.
std::vector<float> InverseFrequencies(const ModelConfig& config);

// YaRN's factor on cosines and sines ("attention temperature", section 3.4); 1 for other types.
double RopeAttentionFactor(const RopeConfig& rope);

// Cosines and sines by position, [positions][rotated dim / 2] f32 in the backend's memory. The angle is the
// f32 product of position and inverse frequency; its cosine and sine are taken in f64 and rounded once. An
// entry does not depend on how many there are.
class RopeTables {
 public:
  // `counts_only`: nobody reads them, as where ranks are not there (Communicator::counts_only).
  RopeTables(const ModelConfig& config, kernels::Backend* backend, bool counts_only = false);

  // Makes the tables at least `positions` long. Pointers handed out before die if they grow.
  void Reserve(int64_t positions);
  int64_t positions() const { return positions_; }
  const float* cosines() const { return static_cast<const float*>(cosines_.get()); }
  const float* sines() const { return static_cast<const float*>(sines_.get()); }

 private:
  std::vector<float> inverse_frequencies_;
  double attention_factor_;
  kernels::Backend* backend_;
  const bool counts_only_;
  int64_t positions_ = 0;
  std::shared_ptr<void> cosines_, sines_;
};

}  // namespace temper
