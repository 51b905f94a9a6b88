// SPDX-License-Identifier: Apache-2.0
// The stages in order. What each leaves: a folder with its checkpoints, trajectories and evaluation, and,
// once it is finished, stage.json (its row of the stage table).
#include "trainer/recipe.h"

#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "comm/check.h"
#include "comm/mesh.h"
#include "comm/watchdog.h"
#include "core/files/file.h"
#include "core/files/leftovers.h"
#include "core/host.h"
#include "core/json/json.h"
#include "core/log.h"
#include "core/status.h"
#include "core/stop.h"
#include "core/text.h"
#include "core/version.h"
#include "model/device.h"
#include "trainer/collect.h"
#include "trainer/evaluation.h"
#include "trainer/inputs/inputs.h"
#include "trainer/measure.h"
#include "trainer/rl.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/corrections.h"
#include "trainer/run_directory/files.h"
#include "trainer/run_directory/intact.h"
#include "trainer/run_directory/journal.h"
#include "trainer/run_directory/model_directory.h"
#include "trainer/run_directory/run_directory.h"
#include "trainer/run_directory/supervision.h"
#include "trainer/sft.h"

namespace temper {
namespace {

Progress::Screen Silent() {
  Progress::Screen screen;
  screen.width = [] { return 80; };
  screen.now = [] { return 0.0; };
  screen.draw = screen.line = [](const std::string&) {};
  return screen;
}

// What the run writes lies in its folder, which is no model's: nothing there is a link to another place.
absl::Status CheckOwnFiles(const RecipeConfig& recipe, const std::string& run_directory) {
  if (FileExists(run_directory + "/config.json"))
    return absl::FailedPreconditionError(absl::StrCat(
        Printable(run_directory, 1000), ": is a model directory: give the run a folder of its own"));
  for (const auto& path :
       {ConfigPath, HistoryPath, FilesPath, MetricsPath, SummaryPath, ReportPath, JournalPath, StatusPath,
        StopPath, LaunchScriptPath, LaunchedPath, WatchDirectory, SupervisedPath})
    TEMPER_RETURN_IF_ERROR(CheckNoLinks(path(run_directory)));
  for (const StageConfig& stage : recipe.stages)
    TEMPER_RETURN_IF_ERROR(CheckNoLinks(StageDirectory(run_directory, stage.name)));
  return absl::OkStatus();
}

int64_t BytesBelow(const std::string& directory) {
  std::error_code error;
  int64_t bytes = 0;
  for (auto at = std::filesystem::recursive_directory_iterator(directory, error);
       !error && at != std::filesystem::recursive_directory_iterator(); at.increment(error)) {
    std::error_code none;
    if (at->is_regular_file(none)) bytes += static_cast<int64_t>(at->file_size(none));
  }
  return bytes;
}

// Reads all that the run left, each rank a part; the first shows how far it is once that takes a while.
absl::Status CheckWhatIsThere(const std::string& run_directory, Communicator& world,
                              const std::function<bool()>& stop) {
  constexpr int64_t kMib = 1 << 20, kStopBytes = 64 * kMib;
  constexpr std::chrono::seconds kQuiet(2);
  const auto began = std::chrono::steady_clock::now();
  std::unique_ptr<Progress> progress;
  int64_t done = 0;
  const auto on_bytes = [&](int64_t bytes) -> absl::Status {
    const int64_t before = done / kStopBytes;
    done += bytes;
    if (done / kStopBytes > before && stop())
      return absl::CancelledError("stopped on request, before anything began");
    if (world.rank() == 0 && progress == nullptr && std::chrono::steady_clock::now() - began > kQuiet) {
      progress = std::make_unique<Progress>();
      progress->Start("checking files, MiB", BytesBelow(run_directory) / world.size() / kMib);
    }
    if (progress != nullptr) progress->Step(done / kMib, "");
    return absl::OkStatus();
  };
  const absl::Status status = ReadTogether(world, on_bytes, [&](const FileReader& reader) {
    return CheckIntact(run_directory, IntactFor::kStart, reader);
  });
  if (progress != nullptr) progress->Finish();
  return status;
}

// What the first rank alone has.
struct FirstRank {
  std::unique_ptr<RunLock> lock;
  std::unique_ptr<Journal> journal;
};

// What all of a run shows of itself, and asks.
struct Watched {
  Progress& progress;
  const std::function<bool()>& stop;
};

// The first rank has the folder to itself.
absl::Status LockRun(const RecipeConfig& recipe, const std::string& run_directory, const Mesh& mesh,
                     FirstRank* own) {
  if (!mesh.is_first()) return absl::OkStatus();
  TEMPER_RETURN_IF_ERROR(MakeDirectories(run_directory));
  TEMPER_RETURN_IF_ERROR(CheckOwnFiles(recipe, run_directory));
  TEMPER_ASSIGN_OR_RETURN(own->lock, RunLock::Acquire(run_directory));
  TEMPER_RETURN_IF_ERROR(RemoveLeftovers(run_directory));
  own->journal = std::make_unique<Journal>(run_directory);
  return absl::OkStatus();
}

// What is there is whole, all ranks have the same files and run directory, and the run is one of this recipe.
absl::StatusOr<RunFiles> Claim(const RecipeConfig& recipe, const std::string& run_directory, const Mesh& mesh,
                               bool exact, const Watched& watched) {
  Communicator& world = mesh.world();
  TEMPER_RETURN_IF_ERROR(CheckWhatIsThere(run_directory, world, watched.stop));
  const absl::StatusOr<RunFiles> files =
      ReadRunFiles(recipe, run_directory, exact, watched.stop, mesh.is_first() ? &watched.progress : nullptr);
  TEMPER_RETURN_IF_ERROR(AllRanksOk(files.status(), world));
  TEMPER_RETURN_IF_ERROR(AllRanksHold(HeldOfFiles(recipe, run_directory, *files), world));
  const absl::Status claimed = mesh.is_first() ? ClaimRun(recipe, *files, run_directory) : absl::OkStatus();
  TEMPER_RETURN_IF_ERROR(AllRanksOk(claimed, world));
  const std::string config = ConfigPath(run_directory);
  const absl::StatusOr<std::string> sum = Sha256OfFile(config);
  TEMPER_RETURN_IF_ERROR(
      AllRanksHold({{"the run directory's config.yaml", sum.value_or("none"), config}}, world));
  return *files;
}

// The journal's line of this start. Collective.
Json StartLine(const RecipeConfig& recipe, Communicator& world) {
  Json hosts = Json::object();
  for (const std::string& name : world.Gather(ThisHost(), 0)) hosts[name] = hosts.value(name, 0) + 1;
  const std::string word = absl::StrCat(absl::Hex(absl::ToUnixNanos(absl::Now())), "-", getpid());
  Json line = {{"start", world.AllGather(word)[0]}, {"ranks", world.size()}, {"hosts", hosts},
               {"device", recipe.device},           {"pid", getpid()},       {"temper", kVersion}};
  if (const char* const job = std::getenv("SLURM_JOB_ID")) line["job"] = job;
  const auto used = static_cast<int64_t>(hosts.size());
  if (const int64_t held = HeldMachines(); held > used && used > 0)
    line["devices"] = static_cast<double>(world.size() * held) / static_cast<double>(used);
  return line;
}

// From here on the ranks watch each other; null where there is one. Collective.
absl::StatusOr<std::unique_ptr<Watchdog>> BeginWatch(const RecipeConfig& recipe, const Pulse& pulse,
                                                     const std::string& run_directory,
                                                     const std::string& start, Communicator& world) {
  if (world.size() == 1) return nullptr;
  const std::string folder = StartsWatchDirectory(run_directory, start);
  absl::Status made;
  if (world.rank() == 0) {
    // One of an earlier start may be writing there; what it leaves is in nobody's way.
    RemoveTree(WatchDirectory(run_directory)).IgnoreError();
    made = MakeDirectories(folder);
  }
  TEMPER_RETURN_IF_ERROR(AllRanksOk(made, world));
  return std::make_unique<Watchdog>(
      &pulse, Watchdog::Options{.folder = folder,
                                .start = start,
                                .rank = world.rank(),
                                .size = world.size(),
                                .deadline_seconds = 60 * recipe.deadline_minutes,
                                .give_up = world.device() == nullptr ? std::function<void()>() : [&world] {
                                  world.device()->GiveUp();
                                }});
}

void NoteSlow(const std::vector<Watchdog::Slow>& slow, Journal* journal) {
  for (const Watchdog::Slow& one : slow) {
    const absl::Status status =
        journal->Add("slow", {{"rank", one.rank}, {"host", one.host}, {"what", one.text}});
    if (!status.ok()) LogWarning(status.message());
  }
}

// A rank's calls are noted as long as this lives.
class NotedCalls {
 public:
  NotedCalls(Communicator* world, Pulse* pulse) : world_(*world) { world_.set_pulse(pulse); }
  ~NotedCalls() { world_.set_pulse(nullptr); }
  NotedCalls(const NotedCalls&) = delete;
  NotedCalls& operator=(const NotedCalls&) = delete;

 private:
  Communicator& world_;
};

// What a start has when it begins.
struct Start {
  std::string run_directory;
  const Mesh& mesh;
  const Mesh& sampling_mesh;
  const Watched& watched;
  const FirstRank& own;
  RunFiles files;
  kernels::Backend* backend;
  Watchdog* watchdog;
};

class Runner {
 public:
  Runner(const RecipeConfig& recipe, Start start)
      : recipe_(recipe),
        run_directory_(std::move(start.run_directory)),
        mesh_(start.mesh),
        sampling_mesh_(start.sampling_mesh),
        stop_(start.watched.stop),
        own_(start.own),
        files_(std::move(start.files)),
        backend_(start.backend),
        watchdog_(start.watchdog),
        progress_(start.watched.progress) {}

  absl::Status Run() {
    TEMPER_RETURN_IF_ERROR(CheckOrder());
    TEMPER_RETURN_IF_ERROR(OpenInputs());
    Json table = Json::array();
    Extent metrics;
    if (!backend_->exact() && mesh_.is_first())
      LogInfo(NotExactText(recipe_.device), "; old logprobs are recomputed");
    for (const StageConfig& stage : recipe_.stages) {
      const std::string directory = StageDirectory(run_directory_, stage.name);
      const bool finished = FileExists(StageDonePath(directory));
      if (!finished) TEMPER_RETURN_IF_ERROR(InStage(stage, RunStage(stage, metrics)));
      TEMPER_ASSIGN_OR_RETURN(const FinishedStage left, ReadFinished(directory));
      metrics = left.metrics;
      table.push_back(left.row);
      if (!finished && mesh_.is_first()) TEMPER_RETURN_IF_ERROR(WriteTable(table));
    }
    return mesh_.is_first() ? WriteTable(table) : absl::OkStatus();
  }

 private:
  // Stages finish in order: what a missing stage.json would cut off metrics.jsonl is not ours to throw away.
  absl::Status CheckOrder() const {
    std::string unfinished;
    for (const StageConfig& stage : recipe_.stages) {
      const std::string directory = StageDirectory(run_directory_, stage.name);
      const std::string done = StageDonePath(directory);
      TEMPER_ASSIGN_OR_RETURN(const std::string checkpoint,
                              LatestCheckpoint(CheckpointsDirectory(directory)));
      const bool finished = FileExists(done), begun = finished || !checkpoint.empty();
      if (begun && !unfinished.empty()) {
        return absl::FailedPreconditionError(absl::StrCat(
            unfinished, ": is missing, but the later stage ", stage.name,
            finished ? " is finished" : " has begun", ": restore it from a copy, or use another --run-dir"));
      }
      if (!finished && unfinished.empty()) unfinished = done;
    }
    return absl::OkStatus();
  }

  // Every rank reads what it will take from.
  absl::Status OpenInputs() {
    Inputs::Options options;
    options.run_directory = run_directory_;
    options.finished = [this](const std::string& stage) {
      return FileExists(StageDonePath(StageDirectory(run_directory_, stage)));
    };
    options.stop = stop_;
    if (mesh_.is_first()) options.progress = &progress_;
    absl::StatusOr<std::unique_ptr<Inputs>> inputs = Inputs::Open(recipe_, options);
    TEMPER_RETURN_IF_ERROR(AllRanksOk(inputs.status(), mesh_.world()));
    inputs_ = *std::move(inputs);
    if (mesh_.is_first()) LogInfo(inputs_->Text());
    return absl::OkStatus();
  }

  // A stop that came while a stage read, sampled or measured says where, as one between updates does.
  static absl::Status InStage(const StageConfig& stage, const absl::Status& status) {
    if (!IsStop(status) || !absl::StrContains(status.message(), "stopped") ||
        absl::StrContains(status.message(), ", stage "))
      return status;
    return absl::CancelledError(
        absl::StrCat("stopped on request, stage ", stage.name, " beside its updates; what is done is saved"));
  }

  // Every rank is here, and leaves after the first has written stage.json.
  absl::Status RunStage(const StageConfig& stage, const Extent& metrics_begin) {
    const auto began = std::chrono::steady_clock::now();
    StageContext context;
    context.recipe = &recipe_;
    context.stage = &stage;
    context.inputs = inputs_.get();
    context.run_directory = run_directory_;
    context.directory = StageDirectory(run_directory_, stage.name);
    context.mesh = &mesh_;
    context.sampling_mesh = &sampling_mesh_;
    context.backend = backend_;
    context.progress = &progress_;
    context.watchdog = watchdog_;
    if (watchdog_ != nullptr) watchdog_->BetweenSteps();
    context.stop = stop_;
    TEMPER_RETURN_IF_ERROR(AllRanksOk(CheckPrograms(files_, stage.name), mesh_.world()));
    TEMPER_ASSIGN_OR_RETURN(context.from_directory, FromDirectory(stage));
    TEMPER_RETURN_IF_ERROR(MakeDirectories(TrajectoriesDirectory(context.directory)));
    TEMPER_RETURN_IF_ERROR(MakeDirectories(EvaluationDirectory(context.directory)));
    std::unique_ptr<MetricsWriter> metrics;
    std::unique_ptr<StageSums> sums;
    context.state.metrics = metrics_begin;
    TEMPER_ASSIGN_OR_RETURN(context.checkpoint, LatestCheckpoint(CheckpointsDirectory(context.directory)));
    if (!context.checkpoint.empty()) {
      TEMPER_ASSIGN_OR_RETURN(context.state, ReadTrainingState(context.checkpoint));
      TEMPER_RETURN_IF_ERROR(CheckNumerics(context));
    }
    if (mesh_.is_first()) {
      if (!context.checkpoint.empty())
        LogInfo("stage ", stage.name, ": goes on after update ", context.state.step);
      TEMPER_ASSIGN_OR_RETURN(metrics, OpenMetrics(&context, context.state.metrics.bytes));
      if (context.checkpoint.empty() && context.repeated_updates > 0)
        LogWarning("stage ", stage.name, ": begins again, with the ", context.repeated_updates,
                   " updates that it had done: it has no checkpoint");
      TEMPER_ASSIGN_OR_RETURN(sums, StageSums::Open(context.directory, context.state.sums));
      context.lock = own_.lock.get();
      context.journal = own_.journal.get();
      context.metrics = metrics.get();
      context.sums = sums.get();
    }
    // Weights are checked and read, or read for a reference too.
    const std::string& opened = context.checkpoint.empty() ? context.from_directory : context.checkpoint;
    mesh_.world().Announce(absl::StrCat("opens stage ", stage.name), 2 * OnSlowDisk(opened));
    if (mesh_.is_first()) TEMPER_RETURN_IF_ERROR(NoteStage(context));
    TEMPER_ASSIGN_OR_RETURN(const StagePolicy left, Train(context));
    mesh_.world().Barrier();  // the first rank's last checkpoint stands

    Json row = {{"stage", stage.name}, {"kind", NameIn(kStageKinds, stage.kind)}};
    const double trained = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    Json figures = Json::object();
    if (left.evaluator != nullptr) {
      left.policy.model->WeightsChanged(0);  // the records of a finished policy know no other version
      TEMPER_ASSIGN_OR_RETURN(figures, left.evaluator->AfterStage());
    }
    const double all = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    row["seconds"] = std::max(left.seconds, trained) + (all - trained);
    row["exact"] = backend_->exact();
    for (const auto& [name, value] : figures.items()) row[name] = value;
    if (mesh_.is_first()) {
      TEMPER_RETURN_IF_ERROR(own_.journal->Add("finished", {{"stage", stage.name}}));
      TEMPER_RETURN_IF_ERROR(AddHours(stage, &row));
      TEMPER_RETURN_IF_ERROR(WriteFinished(context, row));
    }
    mesh_.world().Barrier();
    return absl::OkStatus();
  }

  absl::Status NoteStage(const StageContext& context) const {
    Json fields = {{"stage", context.stage->name}};
    const StageKind kind = context.stage->kind;
    if (kind != StageKind::kCollect && kind != StageKind::kEval) fields["step"] = context.state.step;
    return own_.journal->Add("stage", fields);
  }

  // What the stage took of the ranks, and of money.
  absl::Status AddHours(const StageConfig& stage, Json* row) const {
    TEMPER_ASSIGN_OR_RETURN(const std::vector<Json> journal, ReadJournal(run_directory_));
    const StageHours hours = HoursOf(journal, stage.name);
    (*row)["device_hours"] = hours.held;
    (*row)["lost_device_hours"] = hours.lost;
    if (recipe_.cost_per_gpu_hour == 0) return absl::OkStatus();
    (*row)["cost"] = hours.held * recipe_.cost_per_gpu_hour;
    (*row)["lost_cost"] = hours.lost * recipe_.cost_per_gpu_hour;
    return absl::OkStatus();
  }

  static absl::Status CheckNumerics(const StageContext& context) {
    if (context.state.numerics == kNumerics) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat(StatePath(context.checkpoint), ": numerics ", context.state.numerics,
                     ", and this temper has numerics ", kNumerics,
                     ", other bits: finish the run with the temper that began it, or use another --run-dir"));
  }

  absl::StatusOr<StagePolicy> Train(const StageContext& context) {
    StagePolicy sampled;  // by a stage that trains none
    switch (context.stage->kind) {
      case StageKind::kPretrain:
      case StageKind::kSft:
        return RunSft(context);
      case StageKind::kRl:
        return RunRl(context);
      case StageKind::kCollect:
        TEMPER_RETURN_IF_ERROR(RunCollect(context));
        break;
      case StageKind::kEval:
        if (context.stage->evaluation.HeldOutProblems() == 0) break;
        TEMPER_ASSIGN_OR_RETURN(sampled.policy, OpenPolicy(context.from_directory, context.backend,
                                                           {.bf16 = recipe_.bf16(),
                                                            .cache = recipe_.cache,
                                                            .mtp = context.stage->mtp(),
                                                            .mesh = context.sampling_mesh}));
        TEMPER_ASSIGN_OR_RETURN(sampled.evaluator, Evaluator::Open(context, sampled.policy.model->config(),
                                                                   *sampled.policy.tokenizer));
        sampled.evaluator->Take(sampled.policy.model.get());
        break;
    }
    return sampled;
  }

  // Lines that belong to no finished update are cut off: they will be written again.
  absl::StatusOr<std::unique_ptr<MetricsWriter>> OpenMetrics(StageContext* context, int64_t offset) {
    const std::string path = MetricsPath(run_directory_);
    if (FileExists(path)) {
      TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
      for (size_t i = static_cast<size_t>(offset); i < text.size(); ++i)
        context->repeated_updates += text[i] == '\n' ? 1 : 0;
    }
    return MetricsWriter::Open(path, offset);
  }

  // The policy that a stage starts from: an earlier stage's last checkpoint (of collect and eval stages, the
  // one they sampled), or a model directory.
  absl::StatusOr<std::string> FromDirectory(const StageConfig& stage) {
    const StageConfig* const other = recipe_.StageBefore(stage);
    if (other == nullptr) return ModelDirectory(stage.from);
    if (other->kind == StageKind::kCollect || other->kind == StageKind::kEval) return FromDirectory(*other);
    const std::string directory = CheckpointsDirectory(StageDirectory(run_directory_, other->name));
    TEMPER_ASSIGN_OR_RETURN(const std::string checkpoint, LatestCheckpoint(directory));
    if (checkpoint.empty()) return absl::NotFoundError(absl::StrCat(directory, ": has no checkpoint"));
    const auto alive = [this](int64_t) {
      mesh_.world().Announce("reads the checkpoint that a stage starts from");
      return absl::OkStatus();
    };
    TEMPER_RETURN_IF_ERROR(ReadTogether(
        mesh_.world(), alive, [&](const FileReader& reader) { return CheckCheckpoint(checkpoint, reader); }));
    return checkpoint;
  }

  absl::Status WriteTable(const Json& table) {
    return WriteFileAtomic(SummaryPath(run_directory_), SummaryText(table), own_.lock.get());
  }

  const RecipeConfig& recipe_;
  const std::string run_directory_;
  const Mesh& mesh_;
  const Mesh& sampling_mesh_;
  const std::function<bool()>& stop_;
  const FirstRank& own_;
  const RunFiles files_;
  kernels::Backend* const backend_;
  Watchdog* const watchdog_;
  Progress& progress_;
  std::unique_ptr<Inputs> inputs_;
};

}  // namespace

Cores CoresHere() {
  cpu_set_t mine;
  const int all = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  return {.mine = sched_getaffinity(0, sizeof(mine), &mine) == 0 ? CPU_COUNT(&mine) : all, .all = all};
}

int RankThreads(int64_t configured, int ranks, const Cores& cores) {
  if (configured > 0) return static_cast<int>(configured);
  if (cores.mine < cores.all) return std::max(1, cores.mine);  // the launcher gave this rank cores of its own
  return std::max(1, cores.mine / LocalRanks(ranks));
}

int LocalRanks(int ranks) {
  const std::optional<LocalPlace> place = ThisLocalPlace();
  return place ? std::min(place->count, ranks) : ranks;
}

absl::Status RunRecipe(const RecipeConfig& recipe, const std::string& run_directory, Communicator& world,
                       const std::function<bool()>& stop, kernels::Backend* backend) {
  TEMPER_RETURN_IF_ERROR(CheckRecipe(recipe, world.size(), {}, run_directory));
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<kernels::Backend> made;
  if (backend == nullptr) {
    pool = std::make_unique<ThreadPool>(RankThreads(recipe.threads, world.size()));
    TEMPER_ASSIGN_OR_RETURN(made, BackendByName(recipe.device, pool.get()));
    backend = made.get();
  }
  // Beside the watchdog, and for the time before there is one: later, since this one sees less.
  world.set_deadline(2 * absl::Minutes(recipe.deadline_minutes > 0 ? recipe.deadline_minutes : 10));
  Pulse pulse;
  const NotedCalls noted(&world, &pulse);
  world.Announce("reads files");
  std::unique_ptr<Watchdog> watchdog;
  FirstRank own;
  Progress progress(world.rank() == 0 ? Progress::StandardError() : Silent());
  // Whatever takes long asks now and then whether to stop: a sign of life.
  const std::function<bool()> alive = [&] {
    world.Announce("");
    if (own.journal != nullptr) {
      own.journal->SignOfLife(progress.state());
      if (watchdog != nullptr) NoteSlow(watchdog->TakeSlow(), own.journal.get());
      if (own.journal->AskedToStop()) RequestStop();
    }
    return stop();
  };
  TEMPER_RETURN_IF_ERROR(AllRanksHold(HeldOfRecipe(recipe, backend->exact()), world));
  TEMPER_ASSIGN_OR_RETURN(const Mesh mesh, Mesh::Create(recipe.mesh, world));
  // Our kernels' numbers go from device to device.
  if (absl::StartsWith(recipe.device, "cuda") && backend->exact() && world.size() > 1 &&
      world.device() == nullptr)
    world.set_device(OpenDeviceRanks(world));
  TEMPER_ASSIGN_OR_RETURN(const std::optional<MeshSizes> apart, recipe.MeshApart(world.size()));
  std::optional<Mesh> sampling_mesh;
  if (apart) {
    TEMPER_ASSIGN_OR_RETURN(sampling_mesh, Mesh::Create(*apart, world));
  }
  if (recipe.shared) ShareNewFiles();
  TEMPER_RETURN_IF_ERROR(AllRanksOk(LockRun(recipe, run_directory, mesh, &own), world));
  const Watched watched{progress, alive};
  // What the watchdog ends goes on: an error of a call that it gave up is not the run's end.
  const auto end = [&](const absl::Status& status) {
    const bool goes_on = watchdog != nullptr && watchdog->ended();
    if (own.journal != nullptr && !goes_on) own.journal->End(status, /*asked=*/IsStop(status));
  };
  absl::StatusOr<RunFiles> files = Claim(recipe, run_directory, mesh, backend->exact(), watched);
  if (!files.ok()) {
    end(files.status());
    return files.status();
  }
  const Json line = StartLine(recipe, world);
  TEMPER_RETURN_IF_ERROR(AllRanksOk(mesh.is_first() ? own.journal->Begin(line) : absl::OkStatus(), world));
  TEMPER_ASSIGN_OR_RETURN(watchdog, BeginWatch(recipe, pulse, run_directory,
                                               GetString(line, "start", "", "").value_or(""), world));
  const RecipeConfig stages = WithMeasuredStarts(recipe);
  absl::Status ran;
  try {
    ran = Runner(stages, {run_directory, mesh, sampling_mesh ? *sampling_mesh : mesh, watched, own,
                          *std::move(files), backend, watchdog.get()})
              .Run();
  } catch (const PeerLeft& left) {
    end(FromLastWords(left.words()));
    throw;
  } catch (const std::exception& error) {
    end(absl::InternalError(error.what()));
    throw;
  }
  end(ran);
  watchdog.reset();
  if (mesh.is_first() && ran.ok()) RemoveTree(WatchDirectory(run_directory)).IgnoreError();
  return ran;
}

}  // namespace temper
