// SPDX-License-Identifier: Apache-2.0
#include "cli/recipe/plan.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/line/options.h"
#include "cli/line/rows.h"
#include "core/status.h"
#include "core/text.h"
#include "trainer/plan/cluster_plan.h"
#include "trainer/plan/exercise.h"
#include "trainer/plan/plan.h"
#include "trainer/recipe.h"

namespace temper {
namespace {

struct PlanOptions {
  std::string cluster;
  int64_t ranks = 1;
  bool search = false, exercise = false;
  std::vector<std::string> set;

  template <class V>
  void Fields(V& v) {
    v.Field(
        "cluster", cluster,
        "MACHINESxDEVICESxNAME (h800, h100, h200, a100; cpu: a core), a rank on each device, or a cluster "
        "file or its name: messages and time too.");
    v.Field("ranks", ranks, "Without a cluster: ranks on processors.", Between(1, 1'000'000));
    v.Field("search", search,
            "Instead: at most ten layouts of the cluster that fit, the fastest first, whatever mesh the "
            "recipe has.");
    v.Field("exercise", exercise,
            "Instead: every rank does a rollout step and an update, with no memory behind them and one rank "
            "after another; then their messages are matched, and held against the plan.");
    v.Field("set", set, "A field of the recipe, over what the file says: mesh.tp=8.", Repeated());
  }
};

// A start refuses what this refuses, too.
absl::Status CheckLeavesOf(const RecipeConfig& recipe, int ranks) {
  TEMPER_ASSIGN_OR_RETURN(const MeshSizes mesh, Resolve(recipe.mesh, ranks));
  for (const StageConfig& stage : recipe.stages) {
    const Workload work = WorkloadOf(stage);
    const absl::Status status = work.updates != nullptr ? CheckLeaves(*work.updates, mesh) : absl::OkStatus();
    if (!status.ok())
      return absl::InvalidArgumentError(absl::StrCat("stages.", stage.name, ".",
                                                     NameIn(kStageKinds, stage.kind),
                                                     ".gradient_leaves: ", status.message()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunPlan(const CommandLine& line) {
  TEMPER_RETURN_IF_ERROR(EndOnSignals());
  PlanOptions options;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> rest, ParseOptions(line.arguments, options));
  if (rest.size() != 1) {
    return absl::InvalidArgumentError(
        rest.empty() ? std::string("expected a recipe: temper plan RECIPE.yaml")
                     : absl::StrCat("unexpected argument ", Printable(rest[1]), "; see --help"));
  }
  ClusterConfig config;
  if (!options.cluster.empty()) {
    TEMPER_ASSIGN_OR_RETURN(config, ReadCluster(options.cluster, rest[0]));
    options.ranks = config.nodes * config.ranks_per_node;
  }
  TEMPER_ASSIGN_OR_RETURN(RecipeConfig recipe, ReadRecipeFields(rest[0], options.set));
  if (recipe.cost_per_gpu_hour == 0) recipe.cost_per_gpu_hour = config.cost_per_gpu_hour;
  std::optional<Cluster> cluster;
  if (!options.cluster.empty()) cluster = ClusterOf(config);
  const bool gpus = cluster && cluster->device.gpu();
  if (cluster) recipe.device = gpus ? "cuda" : "cpu";  // whatever the recipe says
  const int ranks = cluster ? cluster->ranks() : static_cast<int>(options.ranks);
  absl::StatusOr<std::string> text;
  if (options.search && options.exercise) return absl::InvalidArgumentError("--search, --exercise: either");
  if (options.search && !gpus)
    return absl::InvalidArgumentError("--search: needs --cluster with GPUs, whose memory it fills");
  if (!options.search) TEMPER_RETURN_IF_ERROR(CheckLeavesOf(recipe, ranks));
  if (options.search) {
    text = ClusterSearchText(recipe, *cluster);
  } else if (options.exercise) {
    text = ExerciseText(recipe, {.ranks = ranks, .cluster = gpus ? &*cluster : nullptr});
  } else {
    text = cluster ? ClusterPlanText(recipe, *cluster) : PlanText(recipe, ranks);
  }
  TEMPER_RETURN_IF_ERROR(text.status());
  return WriteOut(*text);
}

std::string PlanHelp() { return HelpOf<PlanOptions>(); }

}  // namespace temper
