// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "model/config/config.h"
#include "trainer/config/recipe.h"
#include "trainer/plan/counted.h"

namespace temper {

// What a rank takes for its part of a policy, in bytes.
struct PolicyFootprint {
  int64_t weights = 0, packed = 0;
};
PolicyFootprint FootprintOf(const ModelConfig& config, const PolicyPlace& place);
// Of the only policy that the rank has.
PolicyFootprint FootprintOf(CountedRank& rank, CausalLm& policy);

// And for updates of it, of which a rank has `size`. `activations` are of full microbatches (or the longest
// sequence, if that is longer), as many as a pipeline holds at once; `gradients` of all leaves that are there
// at once, and of their sum; `gathered` of the layer's weights that ranks have brought together; `copied` of
// a checkpoint that is written in the background, on the rank that writes most of it; `scratch` of what a
// device keeps for its kernels' calls.
struct UpdateFootprint : PolicyFootprint {
  int64_t trained = 0, gradients = 0, activations = 0, gathered = 0, copied = 0;
  kernels::ScratchBytes scratch;
};
// The least of an update of `size` that takes as much memory: a pipeline is full with it, and sums of leaves
// take no more from the third one on. `longest`: as below.
UpdateSize LeastLike(const UpdateSize& size, const MeshSizes& mesh, const UpdatesConfig& updates,
                     int64_t longest);
// Both are found by going through the policy with no memory behind it and no ranks beside it
// (trainer/plan/counted.h), so that they cannot drift from what is done.
UpdateFootprint FootprintOf(const ModelConfig& config, const PolicyPlace& place, const UpdatesConfig& updates,
                            int64_t longest, const UpdateSize& size = {});

// Bytes of tensors that a rank sends, by part of the mesh (MeshParts): what makes the policy's numbers, apart
// from the integers and strings by which ranks agree.
using PartBytes = std::array<int64_t, kMeshParts>;
PartBytes TensorBytes(const RankMessages& messages, std::string_view phase);

// What it sends for a pass in which so many sequences decode: found in the same way.
PartBytes DecodeMessagesOf(const ModelConfig& config, const PolicyPlace& place, int64_t sequences);

// What it sends of its weights to the ranks of the mesh that samples (rollout.mesh), where it has the place
// `samples`: to be published once. Found in the same way.
int64_t PublishedBytes(const ModelConfig& config, const PolicyPlace& trains, const PolicyPlace& samples);

// What it sends for an update, or before it for the reference's pass over the same sequences, found in the
// same way.
enum class PassOf { kUpdate, kReference };
PartBytes MessagesOf(const ModelConfig& config, const PolicyPlace& place, const UpdatesConfig& updates,
                     int64_t longest, const UpdateSize& size, PassOf pass = PassOf::kUpdate);

}  // namespace temper
