// SPDX-License-Identifier: Apache-2.0
// Where things lie in a run directory, which is an interface (docs/architecture.md): nothing else spells it.
#pragma once

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace temper {

// Of a run: the recipe as it was resolved, what changed in it, the files that it reads, its metrics, the
// stage table and the page.
inline std::string ConfigPath(const std::string& run) { return run + "/config.yaml"; }
inline std::string HistoryPath(const std::string& run) { return run + "/config_history.txt"; }
inline std::string FilesPath(const std::string& run) { return run + "/files.json"; }
inline std::string MetricsPath(const std::string& run) { return run + "/metrics.jsonl"; }
inline std::string SummaryPath(const std::string& run) { return run + "/summary.json"; }
inline std::string ReportPath(const std::string& run) { return run + "/report.html"; }
// For whoever looks from outside: what became of each start, what the run is doing, that it shall stop, and
// how it was launched.
inline std::string JournalPath(const std::string& run) { return run + "/journal.jsonl"; }
inline std::string StatusPath(const std::string& run) { return run + "/status.json"; }
// What its ranks say of themselves to each other (comm/watchdog.h), while it runs and when one was lost: in
// it a folder of the start, by its word in the journal.
inline std::string WatchDirectory(const std::string& run) { return run + "/.watch"; }
inline std::string StartsWatchDirectory(const std::string& run, const std::string& start) {
  return absl::StrCat(WatchDirectory(run), "/", start);
}
inline std::string SupervisedPath(const std::string& run) { return run + "/.supervised"; }
inline std::string StopPath(const std::string& run) { return run + "/stop"; }
inline std::string LaunchScriptPath(const std::string& run) { return run + "/launch.sh"; }
inline std::string LaunchedPath(const std::string& run) { return run + "/launched.json"; }
// Where a rank's time went, where that was asked for.
inline std::string TracePath(const std::string& run, int rank) {
  return run + absl::StrFormat("/trace-%04d.json", rank);
}
inline std::string StageDirectory(const std::string& run, const std::string& stage) {
  return run + "/" + stage;
}

// Of a stage.
inline std::string CheckpointsDirectory(const std::string& stage) { return stage + "/checkpoints"; }
inline std::string TrajectoriesDirectory(const std::string& stage) { return stage + "/trajectories"; }
inline std::string EvaluationDirectory(const std::string& stage) { return stage + "/evaluation"; }
inline std::string DatasetPath(const std::string& stage) { return stage + "/dataset.jsonl"; }  // collect's
inline std::string SumsPath(const std::string& stage) { return stage + "/sums.jsonl"; }
// Written last: the stage is finished.
inline std::string StageDonePath(const std::string& stage) { return stage + "/stage.json"; }

// Of records, before the rank and the ending (data/record_file.h): a rollout's, an evaluation's ("held_out").
inline std::string RolloutRecords(const std::string& stage, int64_t rollout) {
  return TrajectoriesDirectory(stage) + absl::StrFormat("/rollout-%06d", rollout);
}
inline std::string EvaluationRecords(const std::string& stage, const std::string& level) {
  return absl::StrCat(EvaluationDirectory(stage), "/", level);
}

// Of checkpoints: the folder of one, in the stage's, and in that where training was.
inline std::string CheckpointName(int64_t step) { return absl::StrFormat("step-%06d", step); }
inline std::string StateDirectory(const std::string& checkpoint) { return checkpoint + "/state"; }
inline std::string StatePath(const std::string& checkpoint) {
  return StateDirectory(checkpoint) + "/state.json";
}

}  // namespace temper
