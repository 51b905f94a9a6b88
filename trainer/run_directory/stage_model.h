// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/config/config.h"
#include "trainer/config/recipe.h"

namespace temper {

// Of the model that a stage works on: its own, or that of the stage or directory it comes from, or where that
// is gone, of the checkpoint that the run (empty: none) has of it. Errors: a config.json that cannot be read.
absl::StatusOr<ModelConfig> ModelOf(const RecipeConfig& recipe, const StageConfig& stage,
                                    const std::string& run_directory = "");
// Whether the recipe's meshes of so many ranks, that which trains and that which samples, cut the model. The
// error names the keys of the one that does not.
absl::Status CheckMeshes(const RecipeConfig& recipe, const ModelConfig& model, int ranks);
// The newest checkpoint of the stage, else of one that began with the same model: its config and tokenizer
// are the model's, which may be gone once only finished stages read it. Empty: there is none.
std::string CheckpointInPlaceOf(const RecipeConfig& recipe, const StageConfig& stage,
                                const std::string& run_directory);

}  // namespace temper
