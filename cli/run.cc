// SPDX-License-Identifier: Apache-2.0
#include "cli/run.h"

#include "cli/options.h"
#include "cli/report.h"
#include "cli/rows.h"
#include "core/log.h"
#include "trainer/plan.h"
#include "trainer/recipe.h"

namespace temper {
namespace {

struct RunOptions {
  std::string run_dir;
  std::vector<std::string> set;

  template <class V>
  void Fields(V& v) {
    v.Field("run_dir", run_dir, "Where the run is written; a run that is there goes on.", Required());
    v.Field("set", set, "A field of the recipe, over what the file says: stages.zero.rl.kl_coef=0.",
            Repeated());
  }
};

}  // namespace

absl::Status RunRecipeCommand(const CommandLine& line) {
  RunOptions options;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> rest, ParseOptions(line.arguments, options));
  if (rest.size() != 1) {
    return absl::InvalidArgumentError(
        rest.empty() ? std::string("expected a recipe: temper run RECIPE.yaml --run-dir DIR")
                     : absl::StrCat("unexpected argument ", Printable(rest[1]), "; see --help"));
  }
  TEMPER_ASSIGN_OR_RETURN(const RecipeConfig recipe, ReadRecipe(rest[0], options.set, line.world->size()));
  const bool first = line.world->rank() == 0;
  TEMPER_ASSIGN_OR_RETURN(const std::string plan, PlanText(recipe, line.world->size()));
  if (first) LogInfo(plan);
  TEMPER_RETURN_IF_ERROR(RunRecipe(recipe, options.run_dir, *line.world, StopRequested));
  if (!first) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(const std::string report, WriteReport(options.run_dir));
  return WriteOut(report);
}

std::string RecipeHelp() { return HelpOf<RunOptions>(); }

}  // namespace temper
