// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/json/json.h"
#include "core/metrics.h"
#include "data/trajectory.h"
#include "trainer/config/recipe.h"

namespace temper {

// A stage as its files tell it.
struct ReportStage {
  std::string name;
  std::string directory;
  std::optional<StageConfig> config;        // none without config.yaml
  std::optional<RewardConfig> measured_by;  // the rules of its evaluation; likewise
  Json summary;                             // its row of the stage table; null: not finished
  std::vector<MetricsLine> metrics;

  std::string kind() const;                                   // "rl"; "" where nothing says
  int64_t step() const;                                       // of its last metrics line; 0: none
  int64_t planned_steps() const;                              // 0: not known
  std::optional<double> Value(const std::string& key) const;  // a number of its row
};

// What `report` and `inspect` read of a run directory, the record files apart.
struct ReportRun {
  std::string directory;
  std::string name;  // the last part of its path
  std::optional<RecipeConfig> recipe;
  std::vector<ReportStage> stages;  // in the recipe's order, then what else metrics and summary name
  std::vector<std::string> notes;   // what could not be read and was left out

  const ReportStage* Find(const std::string& name) const;
};

// True where the folder has config.yaml, metrics.jsonl or summary.json.
bool IsRunDirectory(const std::string& path);

// What is read of a run beside its stages' folders: config.yaml, metrics.jsonl and summary.json.
std::vector<std::string> RunFiles(const std::string& directory);

// Errors: no run directory; metrics.jsonl or summary.json damaged. A config.yaml of another version is a
// note.
absl::StatusOr<ReportRun> ReadReportRun(const std::string& directory);

// Prefixes (data/record_file.h) of the record files in a folder, each once, sorted; none without the folder.
std::vector<std::string> RecordPrefixes(const std::string& directory);

// A stage's newest checkpoint; of a stage without one the policy that it samples, an earlier stage's or a
// model directory's; "" where none is known.
std::string PolicyDirectory(const ReportRun& run, const ReportStage& stage);

}  // namespace temper
