// SPDX-License-Identifier: Apache-2.0
#include "trainer/run_directory/intact.h"

#include <filesystem>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/files/file.h"
#include "core/files/sealed.h"
#include "core/log.h"
#include "core/text.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

constexpr char kNone[] = "none";

std::string NameIn(const std::string& directory, const std::string& path) {
  return path.empty() ? kNone : path.substr(directory.size() + 1);
}

absl::Status Missing(const std::string& path, const char* when = "") {
  return absl::DataLossError(absl::StrCat(Printable(path, 1000), ": is missing", when, ": ", kRestoreAdvice));
}

// What is wrong, where temper itself does something about it.
std::string WithoutAdvice(absl::string_view message) {
  if (absl::ConsumeSuffix(&message, kRestoreAdvice)) message.remove_suffix(2);  // ": " or ", "
  return std::string(message);
}

class Check {
 public:
  Check(const std::string& run_directory, IntactFor what, const FileReader& reader)
      : run_directory_(run_directory), what_(what), reader_(reader) {}

  absl::Status Run() {
    if (!FileExists(run_directory_)) return absl::OkStatus();
    TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(run_directory_));
    bool begun = false;
    for (const std::string& name : names) {
      const std::string stage = StageDirectory(run_directory_, name);
      const bool finished = FileExists(StageDonePath(stage));
      if (!finished && !FileExists(CheckpointsDirectory(stage))) continue;
      begun = true;
      TEMPER_RETURN_IF_ERROR(finished ? Finished(stage) : Unfinished(stage));
      if (what_ == IntactFor::kDigest) TEMPER_RETURN_IF_ERROR(Older(stage));
    }
    for (const std::string& path : {ConfigPath(run_directory_), FilesPath(run_directory_)}) {
      if (begun && !FileExists(path)) return Missing(path, ", and stages have begun");
    }
    TEMPER_RETURN_IF_ERROR(Own());
    TEMPER_RETURN_IF_ERROR(Metrics());
    return what_ == IntactFor::kDigest ? Summary() : absl::OkStatus();
  }

 private:
  // Checkpoints that are kept beside the newest.
  absl::Status Older(const std::string& stage) const {
    TEMPER_ASSIGN_OR_RETURN(std::vector<std::string> all, Checkpoints(CheckpointsDirectory(stage)));
    if (!all.empty()) all.pop_back();
    for (const std::string& checkpoint : all) TEMPER_RETURN_IF_ERROR(CheckResume(checkpoint, stage, reader_));
    return absl::OkStatus();
  }

  absl::Status Own() const {
    const std::string config = ConfigPath(run_directory_), files = FilesPath(run_directory_);
    if (FileExists(config)) TEMPER_RETURN_IF_ERROR(ReadSealedYaml(config).status());
    return FileExists(files) ? ReadSealedJson(files).status() : absl::OkStatus();
  }

  // Written after stage.json: the newest stage's row may be missing.
  absl::Status Summary() const {
    const std::string path = SummaryPath(run_directory_);
    if (!FileExists(path)) return absl::OkStatus();
    TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    const absl::StatusOr<Json> rows = ParseJson(text, path);
    Json written = Json::array();
    for (size_t i = 0; rows.ok() && rows->is_array() && i < rows->size(); ++i) {
      const auto row = rows_.find(GetString((*rows)[i], "stage", path).value_or(""));
      if (row != rows_.end()) written.push_back(row->second);
    }
    if (SummaryText(written) == text && written.size() + 1 >= rows_.size()) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat(
        Printable(path, 1000), ": is not what the stages' stage.json say: temper run writes it anew"));
  }

  absl::Status Finished(const std::string& stage) {
    const std::string path = StageDonePath(stage);
    TEMPER_ASSIGN_OR_RETURN(const Json json, ReadSealedJson(path));
    TEMPER_ASSIGN_OR_RETURN(const std::string named, GetString(json, "checkpoint", path));
    TEMPER_ASSIGN_OR_RETURN(const int64_t state_sum, GetInt(json, "state", path));
    TEMPER_ASSIGN_OR_RETURN(const std::string checkpoint, LatestCheckpoint(CheckpointsDirectory(stage)));
    if (NameIn(stage, checkpoint) != named) {
      return absl::DataLossError(absl::StrCat(stage, ": its newest checkpoint is ", NameIn(stage, checkpoint),
                                              ", but ", path, " says ", named, ": ", kRestoreAdvice));
    }
    if (!checkpoint.empty()) {
      TEMPER_RETURN_IF_ERROR(CheckResume(checkpoint, stage, reader_));
      const std::string state = StatePath(checkpoint);
      TEMPER_ASSIGN_OR_RETURN(const uint32_t now, Crc32cOfFile(state));
      if (now != state_sum) {
        return absl::DataLossError(absl::StrCat(state, ": is another than ", path,
                                                " was written for: restore both from a copy, or use another "
                                                "--run-dir"));
      }
    }
    TEMPER_ASSIGN_OR_RETURN(const Extent metrics, GetExtent(json, "metrics", path));
    TEMPER_ASSIGN_OR_RETURN(const Extent sums, GetExtent(json, "sums", path));
    const Json* const row = Find(json, "row");
    if (row != nullptr) rows_[stage.substr(run_directory_.size() + 1)] = *row;
    Longest(metrics);
    return CheckStageSums(stage, sums, what_ == IntactFor::kStart, reader_);
  }

  absl::Status Unfinished(const std::string& stage) {
    TEMPER_ASSIGN_OR_RETURN(std::vector<std::string> all, Checkpoints(CheckpointsDirectory(stage)));
    absl::Status newest;
    std::vector<std::string> damaged;
    while (!all.empty()) {
      const absl::Status status = CheckResume(all.back(), stage, reader_);
      if (status.ok()) break;
      if (newest.ok()) newest = status;
      if (!absl::IsDataLoss(status)) return status;
      damaged.push_back(all.back());
      all.pop_back();
    }
    if (!newest.ok() && (all.empty() || what_ == IntactFor::kDigest)) return newest;
    for (const std::string& checkpoint : damaged) {
      const std::string aside = checkpoint + ".damaged";
      TEMPER_RETURN_IF_ERROR(RemoveTree(aside));
      TEMPER_RETURN_IF_ERROR(RenamePath(checkpoint, aside));
    }
    if (!newest.ok())
      LogWarning(WithoutAdvice(newest.message()), ": stage ", NameIn(run_directory_, stage), " goes on from ",
                 NameIn(stage, all.back()), ", and what is damaged is kept as ", damaged.front(), ".damaged");
    if (all.empty()) return absl::OkStatus();
    TEMPER_ASSIGN_OR_RETURN(const TrainingState state, ReadTrainingState(all.back()));
    Longest(state.metrics);
    return CheckStageSums(stage, state.sums, what_ == IntactFor::kStart, reader_);
  }

  void Longest(const Extent& metrics) {
    if (metrics.bytes > metrics_.bytes) metrics_ = metrics;
  }

  // One beginning holds all shorter ones.
  absl::Status Metrics() const {
    if (metrics_.bytes == 0) return absl::OkStatus();
    const std::string path = MetricsPath(run_directory_);
    if (!FileExists(path)) return Missing(path);
    TEMPER_ASSIGN_OR_RETURN(const Extent now, ExtentOfFile(path, metrics_.bytes));
    if (now == metrics_) return absl::OkStatus();
    return absl::DataLossError(
        absl::StrCat(path, ": is not what was written (the checksum of its first ", metrics_.bytes,
                     " bytes differs): it is damaged, restore it from a copy, or use another --run-dir"));
  }

  const std::string& run_directory_;
  const IntactFor what_;
  const FileReader& reader_;
  std::map<std::string, Json> rows_;  // of finished stages
  Extent metrics_;                    // the longest beginning that a stage or checkpoint knows
};

// The files that a start reads of a finished stage.
absl::StatusOr<std::vector<std::string>> FilesOfFinished(const std::string& stage) {
  const std::string done = StageDonePath(stage);
  if (!FileExists(done)) return std::vector<std::string>{done};
  TEMPER_ASSIGN_OR_RETURN(const Json json, ReadSealedJson(done));
  TEMPER_ASSIGN_OR_RETURN(const Extent sums, GetExtent(json, "sums", done));
  TEMPER_ASSIGN_OR_RETURN(const std::string checkpoint, GetString(json, "checkpoint", done));
  TEMPER_ASSIGN_OR_RETURN(const auto written, FilesOfStageSums(stage, sums));
  std::vector<std::string> names;
  for (const auto& [name, extent] : written) names.push_back(name);
  if (checkpoint != kNone) {
    names.push_back(StatePath(checkpoint));
    if (FileExists(StatePath(absl::StrCat(stage, "/", checkpoint)))) {
      TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> files,
                              FilesOfCheckpoint(absl::StrCat(stage, "/", checkpoint)));
      for (const std::string& file : files) names.push_back(absl::StrCat(checkpoint, "/", file));
    }
  }
  for (std::string& name : names) name = absl::StrCat(stage, "/", name);
  return names;
}

}  // namespace

absl::Status CheckThere(const StageContext& context, const TrainingState& state) {
  std::vector<std::string> paths = {ConfigPath(context.run_directory), FilesPath(context.run_directory)};
  for (const StageConfig& stage : context.recipe->stages) {
    if (stage.name == context.stage->name) break;
    TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> more,
                            FilesOfFinished(StageDirectory(context.run_directory, stage.name)));
    paths.insert(paths.end(), more.begin(), more.end());
  }
  for (const auto& [file, sum] : state.reference_checksums.items())
    paths.push_back(absl::StrCat(context.directory, "/", state.reference, "/", file));
  int64_t looked = 0;
  const auto alive = [&] {
    if (++looked % 64 == 0) context.stop();  // which is a sign of life
  };
  for (const std::string& path : paths) {
    alive();
    if (!FileExists(path)) return Missing(path, ", and the run goes on");
  }
  // Small, and what a start compares itself with.
  TEMPER_RETURN_IF_ERROR(ReadSealedYaml(paths[0]).status());
  TEMPER_RETURN_IF_ERROR(ReadSealedJson(paths[1]).status());
  return context.sums->CheckThere(alive);
}

absl::Status CheckFileOfFinished(const std::string& stage_directory, const std::string& path) {
  const std::string done = StageDonePath(stage_directory);
  if (!FileExists(done)) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(const Json json, ReadSealedJson(done));
  TEMPER_ASSIGN_OR_RETURN(const Extent sums, GetExtent(json, "sums", done));
  TEMPER_ASSIGN_OR_RETURN(const auto written, FilesOfStageSums(stage_directory, sums));
  const auto was = written.find(NameIn(stage_directory, path));
  if (was == written.end()) return absl::OkStatus();
  if (!FileExists(path)) return Missing(path);
  TEMPER_ASSIGN_OR_RETURN(const Extent now, ExtentOfFile(path, was->second.bytes));
  std::error_code unknown;
  const bool longer = std::filesystem::file_size(path, unknown) > static_cast<uintmax_t>(now.bytes);
  if (now == was->second && !longer) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      Printable(path, 1000), ": is not what its stage wrote (its checksum differs): ", kRestoreAdvice));
}

absl::Status WriteFinished(const StageContext& context, const Json& row) {
  TEMPER_RETURN_IF_ERROR(context.lock->Check());
  TEMPER_RETURN_IF_ERROR(CheckThere(context, {}));
  TEMPER_RETURN_IF_ERROR(context.sums->Sync());
  TEMPER_RETURN_IF_ERROR(context.metrics->Sync());
  TEMPER_ASSIGN_OR_RETURN(const std::string checkpoint,
                          LatestCheckpoint(CheckpointsDirectory(context.directory)));
  uint32_t state = 0;
  if (!checkpoint.empty()) {
    TEMPER_ASSIGN_OR_RETURN(state, Crc32cOfFile(StatePath(checkpoint)));
  }
  return WriteSealedJson(StageDonePath(context.directory),
                         {{"metrics", ExtentJson(context.metrics->extent())},
                          {"sums", ExtentJson(context.sums->extent())},
                          {"checkpoint", NameIn(context.directory, checkpoint)},
                          {"state", state},
                          {"row", row}},
                         context.lock);
}

absl::StatusOr<FinishedStage> ReadFinished(const std::string& stage_directory) {
  const std::string path = StageDonePath(stage_directory);
  TEMPER_ASSIGN_OR_RETURN(const Json json, ReadSealedJson(path));
  FinishedStage finished;
  TEMPER_ASSIGN_OR_RETURN(finished.metrics, GetExtent(json, "metrics", path));
  const Json* const row = Find(json, "row");
  if (row == nullptr) return absl::DataLossError(absl::StrCat(path, ": has no row"));
  finished.row = *row;
  return finished;
}

std::string SummaryText(const Json& rows) {
  std::string text = "[";
  for (size_t i = 0; i < rows.size(); ++i) absl::StrAppend(&text, i == 0 ? "\n" : ",\n", DumpJson(rows[i]));
  return text + "\n]\n";
}

absl::Status CheckIntact(const std::string& run_directory, IntactFor what, const FileReader& reader) {
  return Check(run_directory, what, reader).Run();
}

}  // namespace temper
