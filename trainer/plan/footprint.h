// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "comm/mesh.h"
#include "model/config/config.h"
#include "trainer/config/recipe.h"

namespace temper {

// Where a policy is asked about: on one rank of a mesh.
struct PolicyPlace {
  MeshPlace mesh;
  bool on_gpu = false;
  bool bf16 = false;  // weights that are computed with
};

// What a rank takes for its part of a policy, in bytes.
struct PolicyFootprint {
  int64_t weights = 0, packed = 0;
};
PolicyFootprint FootprintOf(const ModelConfig& config, const PolicyPlace& place);

// And for updates of it. `activations` are of full microbatches (or the longest sequence, if that is longer),
// as many as a pipeline holds at once.
struct UpdateFootprint : PolicyFootprint {
  int64_t trained = 0, gradient = 0, activations = 0;  // `gradient`: of a leaf, or where ranks share the
  int64_t gathered = 0;                                // weights out of all; of the layer that is gathered
  // What it sends for such a microbatch there and back, and for the sum of gradients, by axis.
  std::array<int64_t, kAxes> sent = {}, sent_sum = {};
};
// Both are found by going through the policy with no memory behind it and no ranks beside it
// (kernels/backends/counting.h, comm/counting.h), so that they cannot drift from what is done.
UpdateFootprint FootprintOf(const ModelConfig& config, const PolicyPlace& place, const UpdatesConfig& updates,
                            int64_t longest);

}  // namespace temper
