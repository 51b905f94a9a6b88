// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "trainer/config/recipe.h"
#include "trainer/run_directory/files.h"

namespace temper {

// Makes `recipe` the one of the run: writes config.yaml, or compares with what is there. Only stages that
// have begun (trained an update, or collected samples) are held to it, and of them what reaches bits: not
// fields that are Free(), not the evaluation of a stage that is not finished, and not the number of updates
// where those that are done stay what they were and no later stage has begun; a finished stage goes on then.
// What changes is kept in config_history.txt, a line for each field, and a finished stage keeps the fields it
// was made with in config.yaml. Samples of a stage that has not begun, drawn for other settings, are removed.
//
// The same of the files that stages read: files.json keeps them, `files` are those of now. One that lies
// elsewhere is the same file.
//
// Errors name each field that cannot change with its place in config.yaml, both values and what to do, and
// each file that is another; then nothing has changed. Only for the process that holds the run's lock.
absl::Status ClaimRun(const RecipeConfig& recipe, const RunFiles& files, const std::string& run_directory);

}  // namespace temper
