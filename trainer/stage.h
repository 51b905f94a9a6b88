// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "comm/mesh.h"
#include "core/files/file.h"
#include "core/metrics.h"
#include "core/progress.h"
#include "data/tokenizer/tokenizer.h"
#include "model/causal_lm.h"
#include "trainer/config/recipe.h"
#include "trainer/run_directory/checkpoint.h"

namespace temper {

class Inputs;
class Journal;
class StageSums;
class Watchdog;

// What a stage gets from the recipe.
struct StageContext {
  const RecipeConfig* recipe = nullptr;
  const StageConfig* stage = nullptr;
  const Inputs* inputs = nullptr;  // opened for all stages
  std::string run_directory;
  std::string directory;       // of the stage, inside it
  std::string from_directory;  // the checkpoint it starts from
  std::string checkpoint;      // its own newest one, from which it goes on; empty: there is none
  TrainingState state;         // of that
  const Mesh* mesh = nullptr;
  const Mesh* sampling_mesh = nullptr;  // of what samples: another one, or `mesh`
  kernels::Backend* backend = nullptr;  // where policies live
  // Null but on the first rank.
  const RunLock* lock = nullptr;
  MetricsWriter* metrics = nullptr;
  StageSums* sums = nullptr;
  Journal* journal = nullptr;
  Progress* progress = nullptr;
  Watchdog* watchdog = nullptr;  // null: one rank
  std::function<bool()> stop;    // true once the user asked to stop
  int64_t repeated_updates = 0;  // that a crash took, after the checkpoint the stage resumes from
};

}  // namespace temper
