// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "comm/mesh.h"
#include "trainer/config/recipe.h"

namespace temper {

// Prompts are short beside completions; this many tokens are set aside for one, and expected.
inline constexpr int64_t kPromptAllowance = 512, kExpectedPrompt = 200;
// Of max_new_tokens, that a completion is expected to have.
inline constexpr double kExpectedLength = 0.5;

// Rows of a full microbatch, or of what goes alone and may have more: the longest sequence, or samples that
// share a prompt.
int64_t MostRows(const UpdatesConfig& updates, int64_t longest);

// What a rank's updates are made of: its leaves, each of so many microbatches.
struct UpdateSize {
  int64_t leaves = 1, microbatches = 1;
  int64_t leaf_tokens = 0;  // that one may have at most, if that is more than so many microbatches have
};

// What a stage is expected to do.
struct Workload {
  const UpdatesConfig* updates = nullptr;    // null: it trains nothing
  const SamplingConfig* sampling = nullptr;  // null: it samples nothing
  int64_t samples = 0;                       // of an update
  int64_t tokens = 0;                        // of an update; of documents a full microbatch a gradient leaf
  double context = 0;                        // positions that a token sees, in the mean; 0: nobody knows
  int64_t longest = 0;                       // sequence that it may have
  int64_t leaf_tokens = 0;                   // that a gradient leaf has at most; 0: nobody knows
  bool single = false;                       // a leaf is one microbatch, however long
  bool reference = false, reference_stays = false;  // in memory

  UpdateSize SizeOn(const MeshSizes& mesh) const;
  // Of the memory that it may take: the gradient of a leaf with a second microbatch is there whole, and what
  // is dealt to one is more than expected now and then (trainer/update/leaf_gradients.h).
  UpdateSize MostOn(const MeshSizes& mesh) const;
};
Workload WorkloadOf(const StageConfig& stage);

// Whether there is a leaf for each of the mesh's ranks that share out the samples; `mesh` is resolved. Errors
// name no key.
absl::Status CheckLeaves(const UpdatesConfig& updates, const MeshSizes& mesh);

}  // namespace temper
