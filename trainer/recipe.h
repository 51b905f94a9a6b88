// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "trainer/config/recipe.h"

namespace temper {

// Reads a recipe and checks what a single field cannot: stages that name later ones, gradient leaves that the
// ranks cannot share, files that are not there. A relative path in it is looked for beside the recipe, then
// in the working directory, and is absolute in what is returned, so that a run goes on from any folder. Its
// device need not be on this machine.
// `notes` (or null): what a person should know, such as an override that a stage's own field hides.
absl::StatusOr<RecipeConfig> ReadRecipe(const std::string& path, const std::vector<std::string>& overrides,
                                        int ranks, std::vector<std::string>* notes = nullptr,
                                        const std::string& run_directory = "");
// The same for whoever wants a part of it, such as a stage's rules: its paths are resolved, and what the
// other parts name need not be there. `places` (or null): where it says its keys.
absl::StatusOr<RecipeConfig> ReadRecipeFields(const std::string& path,
                                              const std::vector<std::string>& overrides,
                                              ConfigPlaces* places = nullptr);
// places: where the recipe says its keys, for the errors. What stages read that the run (empty: none) has
// finished need not be there any more, but for what measured them while a later stage is to leave that out.
absl::Status CheckRecipe(const RecipeConfig& recipe, int ranks, const ConfigPlaces& places = {},
                         const std::string& run_directory = "");

// Runs the stages in order in RUN_DIRECTORY (its layout: docs/architecture.md): finished stages are skipped,
// an unfinished one resumes. A directory that is in use, or was begun with another recipe than may go on
// there (trainer/run_directory/corrections.h), is refused. Every rank calls it; the first writes. Cancelled
// where `stop` ended it: the run can go on. backend: null for that of the recipe's device, on the recipe's
// threads.
absl::Status RunRecipe(const RecipeConfig& recipe, const std::string& run_directory, Communicator& world,
                       const std::function<bool()>& stop, kernels::Backend* backend = nullptr);

// SHA-256 over weights, optimizer, trajectories sorted by (stage, rollout, prompt, sample), datasets, and
// every metric outside time/, system/ and resume/ (docs/exactness.md, E4).
absl::StatusOr<std::string> RunDigest(const std::string& run_directory);

// The cores that this process may use, and those of the machine.
struct Cores {
  int mine = 1, all = 1;
};
Cores CoresHere();

// Threads of this rank: `configured`, or where that is 0 the cores it may use; all of the machine's are
// shared out among its ranks, fewer are the rank's own.
int RankThreads(int64_t configured, int ranks, const Cores& cores = CoresHere());

// How many of `ranks` ranks the launcher put on this machine.
int LocalRanks(int ranks);

}  // namespace temper
