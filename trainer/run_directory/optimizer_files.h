// SPDX-License-Identifier: Apache-2.0
// The optimizer of a checkpoint: state/optimizer.safetensors, or state/optimizer-00001-of-00003.safetensors
// and so on, each with the moments `m` and `v` of some weights in name order, one behind the other, and the
// f32 weights (weights.NAME) of a policy that computes with rounded ones. The same bytes for every layout of
// the ranks.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "model/files/hugging_face.h"
#include "model/parameters.h"

namespace temper {

// What of it this rank has: moments flat by the parameters' layout.
struct OptimizerPart {
  const ModelConfig& config;
  const Parameters& parameters;  // f32
  bool rounded = false;          // the policy computes with what they are rounded to
  at::Tensor m, v;
};

// Into the checkpoint's folder. With a world collective: ok, or an error, on every rank.
absl::Status WriteOptimizer(const std::string& checkpoint, const OptimizerPart& part,
                            const PolicyWriting& how);

// Reads what this rank has, written by ranks in whatever layout, and nothing else of the files. Sizes that do
// not fit are errors that name the file.
absl::Status ReadOptimizer(const std::string& checkpoint, const OptimizerPart& part);

}  // namespace temper
