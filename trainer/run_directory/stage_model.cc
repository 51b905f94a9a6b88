// SPDX-License-Identifier: Apache-2.0
#include "trainer/run_directory/stage_model.h"

#include <optional>

#include "core/status.h"
#include "model/files/hugging_face.h"
#include "model/parameters.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/model_directory.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {

absl::StatusOr<ModelConfig> ModelOf(const RecipeConfig& recipe, const StageConfig& stage,
                                    const std::string& run_directory) {
  const StageConfig* const before = recipe.StageBefore(stage);
  absl::StatusOr<ModelConfig> model;
  if (before != nullptr) {
    model = ModelOf(recipe, *before, run_directory);
  } else if (stage.from.empty()) {
    model = ReadPolicyConfig(stage.pretrain.init.directory);
  } else {
    const absl::StatusOr<std::string> directory = ModelDirectory(stage.from);
    model = directory.ok() ? ReadPolicyConfig(*directory) : directory.status();
  }
  if (!model.ok() && !run_directory.empty()) {
    const std::string checkpoint = CheckpointInPlaceOf(recipe, stage, run_directory);
    if (!checkpoint.empty()) model = ReadPolicyConfig(checkpoint);
  }
  if (model.ok()) {
    model->cache = recipe.cache;
    model->mtp = stage.mtp();
  }
  return model;
}

absl::Status CheckMeshes(const RecipeConfig& recipe, const ModelConfig& model, int ranks) {
  TEMPER_ASSIGN_OR_RETURN(const MeshSizes mesh, Resolve(recipe.mesh, ranks));
  TEMPER_RETURN_IF_ERROR(CheckMesh(model, mesh));
  TEMPER_ASSIGN_OR_RETURN(const std::optional<MeshSizes> apart, recipe.MeshApart(ranks));
  return apart ? OfRolloutMesh(CheckMesh(model, *apart)) : absl::OkStatus();
}

std::string CheckpointInPlaceOf(const RecipeConfig& recipe, const StageConfig& stage,
                                const std::string& run_directory) {
  const auto newest = [&](const StageConfig& one) {
    return LatestCheckpoint(CheckpointsDirectory(StageDirectory(run_directory, one.name))).value_or("");
  };
  std::string checkpoint = newest(stage);
  for (const StageConfig& other : recipe.stages) {
    if (checkpoint.empty() && !stage.from.empty() && other.from == stage.from) checkpoint = newest(other);
  }
  return checkpoint;
}

}  // namespace temper
