// SPDX-License-Identifier: Apache-2.0
#include "cli/recipe/run.h"

#include <algorithm>

#include "cli/line/options.h"
#include "cli/line/rows.h"
#include "cli/report/report.h"
#include "comm/check.h"
#include "core/files/file.h"
#include "core/log.h"
#include "core/stop.h"
#include "core/trace.h"
#include "model/device.h"
#include "trainer/plan/plan.h"
#include "trainer/recipe.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

// Each rank's own: `launch` checks a recipe where none of its GPUs is.
absl::StatusOr<RecipeConfig> ReadHere(const std::string& path, const RunOptions& options, int ranks,
                                      std::vector<std::string>* notes) {
  TEMPER_ASSIGN_OR_RETURN(RecipeConfig recipe, ReadRecipe(path, options.set, ranks, notes, options.run_dir));
  const absl::Status status = DeviceByName(recipe.device).status();
  if (!status.ok())
    return absl::Status(status.code(), absl::StrCat(Printable(path, 1000), ": device: ", status.message()));
  return recipe;
}

// Of this rank. Collective: ranks that have one GPU share what is free there.
FreeForRank FreeHere(const RecipeConfig& recipe, int local, Communicator& world) {
  FreeForRank free{.host = MemoryThatIsFree(local)};
  const absl::StatusOr<at::Device> device = DeviceByName(recipe.device);
  const bool on_gpu = device.ok() && device->is_cuda();
  const Gpu gpu = on_gpu ? GpusHere()[device->index()] : Gpu{};
  const std::vector<std::string> all = world.AllGather(gpu.uuid);
  if (!on_gpu) return free;
  const int64_t sharing = gpu.uuid.empty() ? 1 : std::count(all.begin(), all.end(), gpu.uuid);
  const int64_t bytes = FreeBytesOn(*device);
  if (bytes != INT64_MAX)
    free.device = {bytes / sharing, absl::StrCat("GPU ", device->index(), " (", Printable(gpu.name), ")")};
  return free;
}

// The machine has the memory, and the run's folder is nobody else's to write.
absl::Status CheckMachine(const RecipeConfig& recipe, const std::string& run_dir, int ranks,
                          const FreeForRank& free) {
  const auto finished = [&](const std::string& stage) {
    return FileExists(StageDonePath(StageDirectory(run_dir, stage)));
  };
  TEMPER_RETURN_IF_ERROR(CheckMemory(recipe, ranks, LocalRanks(ranks), free, finished, run_dir));
  const absl::Status status = CheckOnlyOursToWrite(run_dir, recipe.shared);
  return status.ok() ? status : absl::Status(status.code(), absl::StrCat(status.message(), "; or --force"));
}

}  // namespace

absl::Status RunRecipeCommand(const CommandLine& line) {
  RunOptions options;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> rest, ParseOptions(line.arguments, options));
  if (rest.size() != 1) {
    return absl::InvalidArgumentError(
        rest.empty() ? std::string("expected a recipe: temper run RECIPE.yaml --run-dir DIR")
                     : absl::StrCat("unexpected argument ", Printable(rest[1]), "; see --help"));
  }
  std::vector<std::string> notes;
  const absl::StatusOr<RecipeConfig> read = ReadHere(rest[0], options, line.world->size(), &notes);
  TEMPER_RETURN_IF_ERROR(AllRanksOk(read.status(), *line.world));
  const RecipeConfig& recipe = *read;
  const bool first = line.world->rank() == 0;
  TEMPER_ASSIGN_OR_RETURN(const std::string plan, PlanText(recipe, line.world->size(), options.run_dir));
  if (first) LogInfo(plan);
  for (const std::string& note : notes) {
    if (first) LogWarning(note);
  }
  if (!options.force) {
    const int ranks = line.world->size();
    const FreeForRank free = FreeHere(recipe, LocalRanks(ranks), *line.world);
    TEMPER_RETURN_IF_ERROR(AllRanksOk(CheckMachine(recipe, options.run_dir, ranks, free), *line.world));
  }
  // Whichever rank is asked to stop, all hear of it.
  const auto stop = [&] {
    if (StopRequested()) {
      line.world->AskToStop();
    } else if (line.world->AskedToStop()) {
      RequestStop();
    }
    return StopRequested();
  };
  if (options.trace) BeginTrace();
  absl::Status ran = RunRecipe(recipe, options.run_dir, *line.world, stop);
  if (options.trace) {
    const absl::Status written =
        WriteTrace(TracePath(options.run_dir, line.world->rank()), line.world->rank());
    // Ranks that are at the end all wait here, until their traces are there for the report.
    ran.Update(ran.ok() ? AllRanksOk(written, *line.world) : written);
  }
  if (absl::IsResourceExhausted(ran))
    return absl::ResourceExhaustedError(absl::StrCat(ran.message(), "; the same command goes on then"));
  if (absl::IsCancelled(ran) && stop())
    return absl::CancelledError(absl::StrCat(ran.message(), "; the same command goes on"));
  TEMPER_RETURN_IF_ERROR(ran);
  if (!first) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(const std::string report, WriteReport(options.run_dir));
  return WriteOut(report);
}

std::string RecipeHelp() { return HelpOf<RunOptions>(); }

}  // namespace temper
