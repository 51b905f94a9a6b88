// SPDX-License-Identifier: Apache-2.0
// The files that reach the bits of a run from outside of its folder, by their content: model directories,
// problems, documents, and what rules read.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/check.h"
#include "core/progress.h"
#include "trainer/config/recipe.h"

namespace temper {

// A file as one stage reads it.
struct RunFile {
  std::string stage, field;  // "zero", "rl.problems.files[0]"
  std::string name;          // of the file, where the field names a folder; else empty
  std::string path;          // where it is now; what counts is the rest
  int64_t bytes = 0;
  std::string sha256 = {};
};

struct RunFiles {
  std::string temper, numerics;  // the version; the order of sums, and where it is kept
  std::vector<RunFile> files;    // by stage, in the order of the recipe

  // What has become of the files of a stage since `kept`, a line each, but for those of `fields`; of one that
  // has begun with what to do.
  std::vector<std::string> Differences(const RunFiles& kept, const std::string& stage, bool begun,
                                       const std::set<std::string>& fields = {}) const;
  // Whether `field` of the stage names what it named, elsewhere.
  bool Moved(const RunFiles& kept, const std::string& stage, const std::string& field) const;
  // Whether nothing is there any more of what `field` of the stage named.
  bool Gone(const RunFiles& kept, const std::string& stage, const std::string& field) const;
  // As files.json: a line each.
  std::string Text() const;
};

// files.json of the run. Where there is none `temper` is empty: nothing is known.
absl::StatusOr<RunFiles> KeptFiles(const std::string& run_directory);

// The stage with the programs of its judges, and their scripts, named by what is in them, as far as `known`
// (where a path is in several, the first) has read them: so that one that lies elsewhere is the same.
StageConfig WithProgramsByContent(StageConfig stage, const std::vector<const RunFiles*>& known);

// An error where a program or script of the stage's judges is not what it was at the start.
absl::Status CheckPrograms(const RunFiles& files, const std::string& stage);

// Reads every file that a stage of the recipe reads from now on, and of finished ones those that may have
// moved since `kept`; each once. Where `progress` is not null it shows what takes long. Cancelled where
// `stop` ended it.
absl::StatusOr<RunFiles> ReadRunFiles(const RecipeConfig& recipe, const std::string& run_directory,
                                      bool exact, const std::function<bool()>& stop, Progress* progress);

// The order of sums of a run, and where it is kept: what `numerics` says.
std::string NumericsText(const RecipeConfig& recipe, bool exact);

// What every rank must have alike before it trains: the program and the recipe, but for where its files lie;
// then what the run directory has of each stage, and those files.
std::vector<Held> HeldOfRecipe(const RecipeConfig& recipe, bool exact);
std::vector<Held> HeldOfFiles(const RecipeConfig& recipe, const std::string& run_directory,
                              const RunFiles& files);

}  // namespace temper
