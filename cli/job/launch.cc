// SPDX-License-Identifier: Apache-2.0
#include "cli/job/launch.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/job/child.h"
#include "cli/job/script.h"
#include "cli/job/state.h"
#include "cli/line/options.h"
#include "cli/line/rows.h"
#include "cli/recipe/run.h"
#include "core/files/disk.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "core/log.h"
#include "trainer/plan/cluster.h"
#include "trainer/recipe.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

struct LaunchOptions {
  RunOptions run;
  std::string cluster;
  int64_t nodes = 0, ranks_per_node = 0;
  std::string time;
  bool dry_run = false;

  template <class V>
  void Fields(V& v) {
    v.Field("cluster", cluster,
            "A cluster file (docs/cluster.md), or its name: NAME.yaml in a folder `clusters` beside the "
            "recipe or "
            "above it; or MACHINESxDEVICESxNAME. Without one: one machine.");
    v.Field("nodes", nodes, "Machines. 0: as many as the cluster file says.", Between(0, 100'000));
    v.Field("ranks_per_node", ranks_per_node, "Ranks on each. 0: as many as the cluster file says.",
            Between(0, 1024));
    v.Field("time", time, "Slurm's time limit (4:00:00, 2-12). Empty: the cluster file's.");
    v.Field("dry_run", dry_run, "Print the script, and write and submit nothing.");
    run.Fields(v);
  }
};

absl::StatusOr<ClusterConfig> ClusterOfOptions(const LaunchOptions& options, const std::string& recipe) {
  ClusterConfig cluster;
  if (!options.cluster.empty()) {
    TEMPER_ASSIGN_OR_RETURN(cluster, ReadCluster(options.cluster, recipe));
  }
  if (options.nodes > 0) cluster.nodes = options.nodes;
  if (options.ranks_per_node > 0) cluster.ranks_per_node = options.ranks_per_node;
  if (!options.time.empty()) cluster.time = options.time;
  if (cluster.starter == Starter::kAuto)
    cluster.starter = cluster.hosts.empty() && IsOnPath("sbatch") ? Starter::kSlurm : Starter::kMpirun;
  if (cluster.time.empty()) return cluster;
  TEMPER_ASSIGN_OR_RETURN(const int64_t seconds, SecondsOfTimeLimit(cluster.time));
  if (seconds <= cluster.stop_seconds + 60)
    return absl::InvalidArgumentError(
        absl::StrCat("time limit ", cluster.time, ": ranks would be asked to stop at once: longer than ",
                     cluster.stop_seconds + 60, " s, or a smaller stop_seconds in the cluster file"));
  return cluster;
}

// The recipe as the ranks will read it: on a cluster with GPUs on those, and with its price. Adds what that
// takes to `set`.
absl::StatusOr<RecipeConfig> CheckedRecipe(const std::string& path, const ClusterConfig& cluster,
                                           RunOptions* run) {
  const int ranks = static_cast<int>(cluster.nodes * cluster.ranks_per_node);
  TEMPER_ASSIGN_OR_RETURN(const RecipeConfig said, ReadRecipeFields(path, run->set));
  const bool on_gpu = absl::StartsWith(said.device, "cuda");
  if (cluster.device != "cpu" && !on_gpu) run->set.push_back("device=cuda");
  if (cluster.device == "cpu" && on_gpu && cluster.starter == Starter::kSlurm)
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": device is ", said.device,
                     ", and the cluster has no GPUs: name them in a cluster file (device: h100), or --set "
                     "device=cpu"));
  if (said.cost_per_gpu_hour == 0 && cluster.cost_per_gpu_hour > 0)
    run->set.push_back(absl::StrCat("cost_per_gpu_hour=", FormatDouble(cluster.cost_per_gpu_hour)));
  std::vector<std::string> notes;
  TEMPER_ASSIGN_OR_RETURN(const RecipeConfig recipe, ReadRecipe(path, run->set, ranks, &notes, run->run_dir));
  for (const std::string& note : notes) LogWarning(note);
  return recipe;
}

std::vector<std::string> RunCommandOf(const std::string& program, const std::string& recipe,
                                      const RunOptions& run) {
  std::vector<std::string> command = {program, "run", recipe, "--run-dir", run.run_dir};
  for (const std::string& set : run.set) {
    command.push_back("--set");
    command.push_back(set);
  }
  if (run.force) command.push_back("--force");
  if (run.trace) command.push_back("--trace");
  return command;
}

absl::Status Submit(const Job& job, bool shared) {
  const std::string script = LaunchScriptPath(job.run_directory);
  if (!shared) umask(077);  // Slurm makes the output file with it
  TEMPER_ASSIGN_OR_RETURN(const std::string output, OutputOf({"sbatch", "--parsable", script}));
  const std::vector<std::string> lines = absl::StrSplit(output, '\n', absl::SkipWhitespace());
  const std::string id = lines.empty() ? "" : lines.back().substr(0, lines.back().find(';'));
  const Json json = {{"job", id}, {"nodes", job.cluster.nodes + job.cluster.spare_nodes}};
  TEMPER_RETURN_IF_ERROR(WriteFileAtomic(LaunchedPath(job.run_directory), DumpJson(json) + "\n"));
  const std::string spare =
      job.cluster.spare_nodes > 0 ? absl::StrCat(" and ", job.cluster.spare_nodes, " to spare") : "";
  return WriteOut(absl::StrCat("job ", id, ": ", job.cluster.nodes * job.cluster.ranks_per_node, " ranks on ",
                               job.cluster.nodes, " nodes", spare, ", output in ", job.run_directory,
                               "/launch-", id, ".out\ntemper status ", ShellWord(job.run_directory),
                               "\ntemper stop ", ShellWord(job.run_directory), "\n"));
}

}  // namespace

absl::Status RunLaunch(const CommandLine& line) {
  LaunchOptions options;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> rest, ParseOptions(line.arguments, options));
  if (rest.size() != 1) {
    return absl::InvalidArgumentError(
        rest.empty() ? std::string("expected a recipe: temper launch RECIPE.yaml --run-dir DIR")
                     : absl::StrCat("unexpected argument ", Printable(rest[1]), "; see --help"));
  }
  std::error_code error;
  const std::string recipe_path = fs::absolute(rest[0], error).lexically_normal();
  std::string& run_dir = options.run.run_dir;
  run_dir = fs::absolute(run_dir, error).lexically_normal();
  while (run_dir.size() > 1 && run_dir.back() == '/') run_dir.pop_back();
  Job job;
  TEMPER_ASSIGN_OR_RETURN(job.cluster, ClusterOfOptions(options, recipe_path));
  TEMPER_ASSIGN_OR_RETURN(const RecipeConfig recipe, CheckedRecipe(recipe_path, job.cluster, &options.run));
  job.run_directory = run_dir;
  job.working_directory = fs::current_path(error);
  const std::string& program = job.cluster.program;
  job.command =
      RunCommandOf(program.empty() ? std::string(fs::read_symlink("/proc/self/exe", error)) : program,
                   recipe_path, options.run);
  const bool slurm = job.cluster.starter == Starter::kSlurm;
  TEMPER_ASSIGN_OR_RETURN(const std::string script, slurm ? SlurmScript(job) : MpirunScript(job));
  if (options.dry_run) return WriteOut(script);

  TEMPER_ASSIGN_OR_RETURN(const RunState state, ReadRunState(run_dir));
  if (state.how == RunState::kRunning || state.how == RunState::kQueued || state.kept)
    return absl::FailedPreconditionError(
        absl::StrCat(Printable(run_dir, 1000), ": is ", state.kept ? "running" : state.HowText(),
                     " already: temper stop ends it, another --run-dir begins "
                     "another run"));
  if (recipe.shared) ShareNewFiles();
  TEMPER_RETURN_IF_ERROR(MakeDirectories(run_dir));
  TEMPER_RETURN_IF_ERROR(CheckNoLinks(LaunchScriptPath(run_dir)));
  TEMPER_RETURN_IF_ERROR(WriteFileAtomic(LaunchScriptPath(run_dir), script));
  TheDisk().RemoveFile(StopPath(run_dir));  // of before
  if (slurm) return Submit(job, recipe.shared);
  TheDisk().RemoveFile(LaunchedPath(run_dir));
  return Become({"bash", LaunchScriptPath(run_dir)});
}

std::string LaunchHelp() { return HelpOf<LaunchOptions>(); }

}  // namespace temper
