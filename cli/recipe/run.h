// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/line/command.h"
#include "core/config/config.h"

namespace temper {

struct RunOptions {
  std::string run_dir;
  std::vector<std::string> set;
  bool force = false;
  bool trace = false;

  template <class V>
  void Fields(V& v) {
    v.Field("run_dir", run_dir, "Where the run is written; a run that is there goes on.", Required());
    v.Field("set", set, "A field of the recipe, over what the file says: stages.zero.rl.kl_coef=0.",
            Repeated());
    v.Field("force", force,
            "Start although the plan takes more memory than is free, or others may write in the folder of "
            "the run or own a part of it.");
    v.Field("trace", trace,
            "Write what each rank did when, its newest 200,000 spans, to trace-RANK.json in the run's "
            "folder, for "
            "Chrome (chrome://tracing) or Perfetto.");
  }
};

// A recipe: its stages in order, in a run directory; called again it goes on where it was.
absl::Status RunRecipeCommand(const CommandLine& line);
std::string RecipeHelp();

}  // namespace temper
