// SPDX-License-Identifier: Apache-2.0
// What of a recipe may change between the starts of a run.
#include "trainer/run_directory/corrections.h"

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "core/files/file.h"
#include "core/files/sealed.h"
#include "core/log.h"
#include "core/status.h"
#include "core/text.h"
#include "core/version.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

// How far a stage of the run is.
struct StageProgress {
  bool begun = false, finished = false;
  int64_t updates = 0;   // of its newest checkpoint
  int64_t measured = 0;  // of them those whose evaluation is done
};

absl::StatusOr<StageProgress> ProgressOf(const StageConfig& stage, const std::string& run_directory) {
  const std::string directory = StageDirectory(run_directory, stage.name);
  StageProgress progress;
  progress.finished = FileExists(StageDonePath(directory));
  TEMPER_ASSIGN_OR_RETURN(const std::string checkpoint, LatestCheckpoint(CheckpointsDirectory(directory)));
  if (!checkpoint.empty()) {
    TEMPER_ASSIGN_OR_RETURN(const TrainingState state, ReadTrainingState(checkpoint));
    progress.updates = state.step;
    progress.measured = state.cut_off.is_null() ? state.step : state.step - 1;
  }
  bool collected = false;
  const std::string trajectories = TrajectoriesDirectory(directory);
  if (stage.kind == StageKind::kCollect && FileExists(trajectories)) {
    TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> files, ListDirectory(trajectories));
    collected = !files.empty();
  }
  progress.begun = progress.finished || progress.updates > 0 || collected;
  return progress;
}

// The updates' settings of a training stage; null: it has none.
const UpdatesConfig* UpdatesOf(const StageConfig& stage) {
  switch (stage.kind) {
    case StageKind::kPretrain:
      return &stage.pretrain;
    case StageKind::kSft:
      return &stage.sft;
    case StageKind::kRl:
      return &stage.rl;
    default:
      return nullptr;
  }
}

// Why the updates that are done would not be those of a stage with as many as `now` says; empty: they would.
std::string WhyNotSoMany(const StageConfig& before, const StageConfig& now, int64_t done) {
  const OptimizerConfig& optimizer = UpdatesOf(before)->optimizer;
  if (now.kind == StageKind::kRl) {
    if (now.rl.steps < done) return absl::StrCat(done, " updates are done already: say at least as many");
    int64_t step = 0;
    while (step < done &&
           LearningRate(optimizer, step, before.rl.steps) == LearningRate(optimizer, step, now.rl.steps))
      ++step;
    if (step == done) return "";
  } else {
    const int64_t was = (now.kind == StageKind::kSft ? before.sft : before.pretrain).epochs;
    const int64_t is = (now.kind == StageKind::kSft ? now.sft : now.pretrain).epochs;
    if (is < was) return "passes may be added and not taken away: say at least as many";
    // How many updates a pass has is known once the documents are read; one pass more or less tells enough.
    if (LearningRate(optimizer, optimizer.warmup_steps + 1, optimizer.warmup_steps + 1000) ==
        LearningRate(optimizer, optimizer.warmup_steps + 1, optimizer.warmup_steps + 2000))
      return "";
  }
  return "its schedule would have given the updates that are done other learning rates (schedule constant "
         "would not): add a stage that starts from it";
}

class Comparison {
 public:
  Comparison(const RecipeConfig& before, const ConfigPlaces& places, const RecipeConfig& now,
             const RunFiles& kept, const RunFiles& files, const std::string& run_directory)
      : before_(before),
        places_(places),
        now_(now),
        kept_(kept),
        files_(files),
        run_directory_(run_directory) {}

  absl::Status Compare() {
    for (const StageConfig& stage : before_.stages) {
      TEMPER_ASSIGN_OR_RETURN(const StageProgress progress, ProgressOf(stage, run_directory_));
      progress_.push_back(progress);
      if (progress.begun) begun_ = progress_.size();
    }
    CompareWhatAllShare();
    CompareProgram();
    for (size_t i = 0; i < begun_ && CompareOrder(i); ++i) CompareBegun(i);
    if (!errors_.empty()) return absl::FailedPreconditionError(absl::StrJoin(errors_, "\n"));
    for (size_t i = begun_; i < before_.stages.size(); ++i) CompareWaiting(before_.stages[i]);
    return absl::OkStatus();
  }

  // Carries out what Compare found.
  absl::Status Apply() const {
    for (const std::string& path : removed_) {
      if (FileExists(path)) TEMPER_RETURN_IF_ERROR(RemoveTree(path));
    }
    for (size_t i = 0; i < begun_; ++i) {
      const std::string directory = StageDirectory(run_directory_, before_.stages[i].name);
      if (remeasured_.count(i) > 0)
        TEMPER_RETURN_IF_ERROR(RemoveEvaluations(directory, progress_[i].measured));
      if (reopened_.count(i) == 0) continue;
      LogInfo("stage ", before_.stages[i].name, ": goes on after update ", progress_[i].updates,
              ", where it was finished");
      TEMPER_RETURN_IF_ERROR(RemoveTree(SummaryPath(run_directory_)));
      TEMPER_RETURN_IF_ERROR(RemoveTree(StageDonePath(directory)));
      TEMPER_RETURN_IF_ERROR(SyncDirectory(directory));  // before config.yaml says that it is not finished
    }
    RecipeConfig resolved = now_;
    for (size_t i = 0; i < begun_; ++i) {
      if (progress_[i].finished && reopened_.count(i) == 0) resolved.stages[i] = before_.stages[i];
    }
    TEMPER_RETURN_IF_ERROR(KeepHistory());
    TEMPER_RETURN_IF_ERROR(KeepFiles());
    const std::string text = WriteConfig(resolved);
    if (WriteConfig(before_) == text) return absl::OkStatus();
    return WriteFileAtomic(ConfigPath(run_directory_), SealedYaml(text));
  }

 private:
  bool AnyBegun() const { return begun_ > 0; }

  void Refuse(const std::string& path, const FieldChange& change, const std::string& advice) {
    errors_.push_back(
        absl::StrCat(places_.Of(path), ": ", change.before, " there, ", change.after, " now: ", advice));
  }

  // Seed and the like, which every stage that has begun depends on.
  void CompareWhatAllShare() {
    for (const FieldChange& change : CompareConfigs(before_, now_)) {
      const bool top = change.path.find('.') == std::string::npos;
      if (top && change.free) history_.push_back(Line(change.path, change));
      if (!top || change.free) continue;
      if (AnyBegun()) {
        Refuse(change.path, change,
               absl::StrCat("stage ", before_.stages[0].name,
                            " began with it: set it back, or use another --run-dir"));
      }
      shared_changed_ = true;
    }
  }

  // Whether what is unfinished would go on with other sums.
  void CompareProgram() {
    for (size_t i = 0; i < begun_ && IsKnown(); ++i) {
      if (progress_[i].finished) continue;
      const std::pair<const std::string*, const std::string*> texts[] = {{&kept_.temper, &files_.temper},
                                                                         {&kept_.numerics, &files_.numerics}};
      for (const auto& [was, is] : texts) {
        if (*was == *is) continue;
        errors_.push_back(absl::StrCat(FilesPath(run_directory_), ": stage ", before_.stages[i].name,
                                       " began with temper ", Printable(*was), ", and this is ", *is,
                                       ": finish it with that, or use another --run-dir"));
      }
      return;
    }
  }

  bool IsKnown() const { return !kept_.temper.empty(); }

  // Stages that have begun stay where they are, before all that have not.
  bool CompareOrder(size_t i) {
    const std::string& name = before_.stages[i].name;
    if (i < now_.stages.size() && now_.stages[i].name == name) return true;
    errors_.push_back(absl::StrCat(places_.Of("stages." + name), ": has begun as stage ", i + 1,
                                   " of the run, and ", i < now_.stages.size() ? now_.stages[i].name : "none",
                                   " stands there now: put new stages after ",
                                   before_.stages[begun_ - 1].name, ", or use another --run-dir"));
    return false;
  }

  void CompareBegun(size_t i) {
    const StageConfig before = WithProgramsByContent(before_.stages[i], {&kept_}),
                      now = WithProgramsByContent(now_.stages[i], {&files_, &kept_});
    const bool finished = progress_[i].finished;
    std::set<std::string> changed;
    for (const FieldChange& change : CompareConfigs(before, now)) {
      const std::string path = absl::StrCat("stages.", before.name, ".", change.path);
      const bool evaluation = absl::StartsWith(change.path, "evaluation.");
      const bool is_gone = finished && files_.Gone(kept_, before.name, change.path);
      if (change.place && (is_gone || files_.Moved(kept_, before.name, change.path))) {
        if (!finished) history_.push_back(Line(path, change));
        continue;
      }
      changed.insert(change.path);
      if (change.free || (evaluation && !finished)) {
        if (!finished) history_.push_back(Line(path, change));
        if (evaluation && !finished) remeasured_.insert(i);
      } else if (absl::EndsWith(change.path, ".steps") || absl::EndsWith(change.path, ".epochs")) {
        CompareUpdates(i, path, change);
      } else {
        Refuse(path, change, Advice(i));
      }
    }
    if (!IsKnown() || (finished && reopened_.count(i) == 0)) return;
    for (const std::string& line : files_.Differences(kept_, before.name, true, changed))
      errors_.push_back(line);
  }

  void CompareUpdates(size_t i, const std::string& path, const FieldChange& change) {
    std::string why;
    if (i + 1 < begun_) {
      why =
          absl::StrCat("stage ", before_.stages[begun_ - 1].name,
                       " after it has begun: to go on here remove ", absl::StrJoin(FoldersFrom(i + 1), " "));
    } else {
      why = WhyNotSoMany(before_.stages[i], now_.stages[i], progress_[i].updates);
    }
    if (!why.empty())
      return Refuse(path, change, absl::StrCat(why, "; or set it back, or use another --run-dir"));
    history_.push_back(Line(path, change));
    if (!progress_[i].finished) return;
    reopened_.insert(i);
    remeasured_.insert(i);
    // What later stages sampled came from the policy as it was.
    for (size_t j = i + 1; j < before_.stages.size(); ++j)
      removed_.insert(StageDirectory(run_directory_, before_.stages[j].name));
  }

  // Of stages that have begun.
  std::vector<std::string> FoldersFrom(size_t i) const {
    std::vector<std::string> folders;
    for (; i < begun_; ++i) folders.push_back(StageDirectory(run_directory_, before_.stages[i].name));
    return folders;
  }

  // How a stage that has begun can be left as it is, or begun again.
  std::string Advice(size_t i) const {
    return absl::StrCat(
        "stage ", before_.stages[i].name, progress_[i].finished ? " is finished" : " has begun",
        ": set it back (later stages may say another of their own), or use another --run-dir; "
        "to begin the stage again remove ",
        absl::StrJoin(FoldersFrom(i), " "));
  }

  // A stage that has not begun may have left samples of its first rollout.
  void CompareWaiting(const StageConfig& before) {
    const auto now = std::find_if(now_.stages.begin(), now_.stages.end(),
                                  [&](const StageConfig& stage) { return stage.name == before.name; });
    bool same = now != now_.stages.end() && !shared_changed_;
    if (now != now_.stages.end()) {
      for (const FieldChange& change : CompareConfigs(WithProgramsByContent(before, {&kept_}),
                                                      WithProgramsByContent(*now, {&files_, &kept_}))) {
        same &= change.free || (change.place && files_.Moved(kept_, before.name, change.path));
        if (AnyBegun())
          history_.push_back(Line(absl::StrCat("stages.", before.name, ".", change.path), change));
      }
      for (const std::string& line : files_.Differences(kept_, before.name, false)) {
        if (!IsKnown()) break;
        same = false;
        if (AnyBegun()) history_.push_back(line);
      }
    } else if (AnyBegun()) {
      history_.push_back(absl::StrCat("stages.", before.name, ": taken out"));
    }
    // With what was measured before it, if anything.
    for (const char* suffix : {"", ".before"}) {
      const std::string directory = StageDirectory(run_directory_, before.name + suffix);
      if (same || !FileExists(directory)) continue;
      LogInfo("stage ", before.name, suffix, ": ", before.name,
              " has not begun: what was sampled for other settings is removed");
      removed_.insert(directory);
    }
  }

  // A finished stage keeps the files that it was made with.
  absl::Status KeepFiles() const {
    RunFiles keep = files_;
    keep.files.clear();
    for (const StageConfig& stage : now_.stages) {
      bool made = false;
      for (size_t i = 0; i < begun_; ++i) {
        made |= before_.stages[i].name == stage.name && progress_[i].finished && reopened_.count(i) == 0;
      }
      for (const RunFile& file : (made ? kept_ : files_).files) {
        if (file.stage == stage.name) keep.files.push_back(file);
      }
    }
    return keep.Text() == kept_.Text() ? absl::OkStatus()
                                       : WriteFileAtomic(FilesPath(run_directory_), keep.Text());
  }

  static std::string Line(const std::string& path, const FieldChange& change) {
    return absl::StrCat(path, ": ", change.before, " -> ", change.after);
  }

  // Evaluations that are still to come, or come again after another update.
  static absl::Status RemoveEvaluations(const std::string& stage_directory, int64_t updates) {
    const std::string directory = EvaluationDirectory(stage_directory);
    if (!FileExists(directory)) return absl::OkStatus();
    TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(directory));
    for (absl::string_view name : names) {
      absl::string_view rest = name;
      int64_t step = updates + 1;
      if (absl::ConsumePrefix(&rest, "during-") && !absl::SimpleAtoi(rest.substr(0, rest.find('.')), &step))
        step = updates + 1;
      if (step > updates) TEMPER_RETURN_IF_ERROR(RemoveTree(absl::StrCat(directory, "/", name)));
    }
    return absl::OkStatus();
  }

  absl::Status KeepHistory() const {
    if (history_.empty()) return absl::OkStatus();
    const std::string path = HistoryPath(run_directory_);
    std::string text;
    if (FileExists(path)) {
      TEMPER_ASSIGN_OR_RETURN(text, ReadFile(path));
    }
    const StageProgress& last = progress_[begun_ == 0 ? 0 : begun_ - 1];
    const std::string when = absl::StrCat(
        absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", absl::Now(), absl::UTCTimeZone()), ", ",
        AnyBegun() ? absl::StrCat("stage ", before_.stages[begun_ - 1].name, " after update ", last.updates)
                   : std::string("before the first update"));
    for (const std::string& line : history_) {
      LogInfo("changed since the last start: ", line);
      absl::StrAppend(&text, when, ": ", line, "\n");
    }
    return WriteFileAtomic(path, text);
  }

  const RecipeConfig& before_;
  const ConfigPlaces& places_;
  const RecipeConfig& now_;
  const RunFiles &kept_, &files_;
  const std::string& run_directory_;
  std::vector<StageProgress> progress_;  // of before_.stages
  size_t begun_ = 0;                     // so many of them, from the first on, have begun
  bool shared_changed_ = false;
  std::vector<std::string> errors_, history_;
  std::set<size_t> reopened_, remeasured_;
  std::set<std::string> removed_;
};

}  // namespace

absl::Status ClaimRun(const RecipeConfig& recipe, const RunFiles& files, const std::string& run_directory) {
  const std::string path = ConfigPath(run_directory);
  if (!FileExists(path)) {
    TEMPER_RETURN_IF_ERROR(WriteFileAtomic(FilesPath(run_directory), files.Text()));
    return WriteFileAtomic(path, SealedYaml(WriteConfig(recipe)));
  }
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadSealedYaml(path));
  RecipeConfig before;
  before.numerics = 1;  // the first did not say so
  ConfigPlaces places;
  const absl::Status read = ReadConfig(text, path, {}, before, &places);
  if (!read.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat(read.message(),
                     ": the run was begun by another temper: finish it with that, or use another --run-dir"));
  }
  if (before.numerics != kNumerics) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": the run was begun with numerics ", before.numerics,
                     ", and this temper has numerics ", kNumerics,
                     ", other bits: finish it with the temper that began it, or use another --run-dir "
                     "(a stage may begin from: the weights of its checkpoints)"));
  }
  if (WriteConfig(before) != text) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": was written by another temper: finish the run with that, or use another --run-dir"));
  }
  TEMPER_ASSIGN_OR_RETURN(const RunFiles kept, KeptFiles(run_directory));
  Comparison comparison(before, places, recipe, kept, files, run_directory);
  TEMPER_RETURN_IF_ERROR(comparison.Compare());
  return comparison.Apply();
}

}  // namespace temper
