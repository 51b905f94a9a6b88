// SPDX-License-Identifier: Apache-2.0
#include "trainer/run_directory/model_directory.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/status.h"
#include "trainer/recipe.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {

absl::StatusOr<std::string> ModelDirectory(const std::string& path) {
  if (FileExists(path + "/config.json")) return path;
  // A model's folder in the hub's cache, models--ORG--NAME: the revision that `main` was when it was fetched.
  if (FileExists(path + "/refs/main")) {
    TEMPER_ASSIGN_OR_RETURN(const std::string revision, ReadFile(path + "/refs/main", 100));
    const std::string snapshot = absl::StrCat(path, "/snapshots/", absl::StripAsciiWhitespace(revision));
    if (FileExists(snapshot + "/config.json")) return snapshot;
  }
  TEMPER_ASSIGN_OR_RETURN(const std::string of_stage, LatestCheckpoint(CheckpointsDirectory(path)));
  if (!of_stage.empty()) return of_stage;
  if (!FileExists(ConfigPath(path))) return path;
  RecipeConfig recipe;
  TEMPER_RETURN_IF_ERROR(ReadConfigFile(ConfigPath(path), {}, recipe));
  for (auto stage = recipe.stages.rbegin(); stage != recipe.stages.rend(); ++stage) {
    TEMPER_ASSIGN_OR_RETURN(const std::string checkpoint,
                            LatestCheckpoint(CheckpointsDirectory(StageDirectory(path, stage->name))));
    if (!checkpoint.empty()) return checkpoint;
  }
  return absl::NotFoundError(path + ": no stage of this run has a checkpoint yet");
}

}  // namespace temper
