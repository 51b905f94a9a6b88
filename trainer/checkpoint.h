// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/causal_lm.h"
#include "trainer/optimizer.h"

namespace temper {

// Where a stage is; state/state.json of a checkpoint.
struct TrainingState {
  int64_t step = 0;            // updates done
  int64_t policy_version = 0;  // of the weights
  int64_t metrics_offset = 0;  // bytes of metrics.jsonl that belong to these updates
  std::string reference;       // directory of the reference policy, relative to the stage's; empty: its start
  double seconds = 0;          // spent in the stage so far
};

// A checkpoint is a Hugging Face directory (weights, config, tokenizer) plus state/ (optimizer.safetensors,
// state.json). It is written under a temporary name, synced and renamed to DIRECTORY/step-NNNNNN; older ones
// are removed when it stands.
absl::Status SaveCheckpoint(const std::string& directory, const CausalLm& model,
                            const std::string& tokenizer_directory, const Optimizer& optimizer,
                            const TrainingState& state);

// The newest complete checkpoint in DIRECTORY, or "" where there is none. Leftovers of an interrupted save
// are ignored.
absl::StatusOr<std::string> LatestCheckpoint(const std::string& directory);

// state/state.json alone.
absl::StatusOr<TrainingState> ReadTrainingState(const std::string& checkpoint);

// Whether weights and optimizer are the bytes that were written (state.json has their CRC-32C); an error
// names the file that is not.
absl::Status CheckCheckpoint(const std::string& checkpoint);

// Weights are read by ReadPolicy; this reads the optimizer of one checkpoint, after CheckCheckpoint.
// Sizes that do not fit are errors that name the file.
absl::Status LoadOptimizer(const std::string& checkpoint, Optimizer* optimizer);

}  // namespace temper
