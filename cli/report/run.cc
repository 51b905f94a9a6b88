// SPDX-License-Identifier: Apache-2.0
#include "cli/report/run.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/text.h"
#include "trainer/measure.h"
#include "trainer/recipe.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

ReportStage& StageNamed(ReportRun& run, const std::string& name) {
  for (ReportStage& stage : run.stages) {
    if (stage.name == name) return stage;
  }
  ReportStage& stage = run.stages.emplace_back();
  stage.name = name;
  stage.directory = StageDirectory(run.directory, name);
  return stage;
}

void ReadRecipeOf(ReportRun& run) {
  const std::string path = ConfigPath(run.directory);
  if (!FileExists(path)) return;
  RecipeConfig recipe;
  if (const absl::Status status = ReadConfigFile(path, {}, recipe); !status.ok()) {
    run.notes.push_back(Printable(std::string(status.message())));
    return;
  }
  run.recipe = WithMeasuredStarts(recipe);
  for (const StageConfig& config : run.recipe->stages) {
    ReportStage& stage = StageNamed(run, config.name);
    stage.config = config;
    stage.measured_by = EvaluationReward(*run.recipe, config);
  }
}

absl::Status ReadMetricsOf(ReportRun& run) {
  const std::string path = MetricsPath(run.directory);
  if (!FileExists(path)) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(std::vector<MetricsLine> lines, ReadMetrics(path));
  for (MetricsLine& line : lines) StageNamed(run, line.stage).metrics.push_back(std::move(line));
  return absl::OkStatus();
}

absl::Status ReadSummaryOf(ReportRun& run) {
  const std::string path = SummaryPath(run.directory);
  if (!FileExists(path)) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  TEMPER_ASSIGN_OR_RETURN(const Json rows, ParseJson(text, path));
  if (!rows.is_array()) return absl::InvalidArgumentError(absl::StrCat(path, ": is not a list of stages"));
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::string where = absl::StrCat(path, ": row ", i + 1);
    TEMPER_ASSIGN_OR_RETURN(const std::string name, GetString(rows[i], "stage", where));
    StageNamed(run, name).summary = rows[i];
  }
  return absl::OkStatus();
}

}  // namespace

std::string ReportStage::kind() const {
  if (config) return NameIn(kStageKinds, config->kind);
  const Json* kind = temper::Find(summary, "kind");
  return kind != nullptr && kind->is_string() ? kind->get<std::string>() : "";
}

int64_t ReportStage::step() const { return metrics.empty() ? 0 : metrics.back().step; }

int64_t ReportStage::planned_steps() const {
  return config && config->kind == StageKind::kRl ? config->rl.steps : 0;
}

std::optional<double> ReportStage::Value(const std::string& key) const {
  const Json* value = temper::Find(summary, key);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  return value->get<double>();
}

const ReportStage* ReportRun::Find(const std::string& name) const {
  for (const ReportStage& stage : stages) {
    if (stage.name == name) return &stage;
  }
  return nullptr;
}

bool IsRunDirectory(const std::string& path) {
  return FileExists(ConfigPath(path)) || FileExists(MetricsPath(path)) || FileExists(SummaryPath(path));
}

std::vector<std::string> RunFiles(const std::string& directory) {
  return {ConfigPath(directory), MetricsPath(directory), SummaryPath(directory)};
}

absl::StatusOr<ReportRun> ReadReportRun(const std::string& directory) {
  TEMPER_RETURN_IF_ERROR(CheckReadable(directory));
  if (!IsRunDirectory(directory)) {
    return absl::NotFoundError(
        absl::StrCat(Printable(directory, 1000),
                     ": is no run directory: it has no config.yaml, metrics.jsonl or summary.json"));
  }
  ReportRun run;
  run.directory = directory;
  while (run.directory.size() > 1 && run.directory.back() == '/') run.directory.pop_back();
  run.name = run.directory.substr(run.directory.rfind('/') + 1);
  ReadRecipeOf(run);
  TEMPER_RETURN_IF_ERROR(ReadMetricsOf(run));
  TEMPER_RETURN_IF_ERROR(ReadSummaryOf(run));
  return run;
}

std::vector<std::string> RecordPrefixes(const std::string& directory) {
  std::vector<std::string> prefixes;
  for (const std::string& name : ListDirectory(directory).value_or(std::vector<std::string>())) {
    const size_t rank = name.rfind(".rank-");
    if (rank == std::string::npos || !absl::EndsWith(name, ".records")) continue;
    prefixes.push_back(absl::StrCat(directory, "/", name.substr(0, rank)));
  }
  std::sort(prefixes.begin(), prefixes.end());
  prefixes.erase(std::unique(prefixes.begin(), prefixes.end()), prefixes.end());
  return prefixes;
}

std::string PolicyDirectory(const ReportRun& run, const ReportStage& stage) {
  const std::string checkpoint = LatestCheckpoint(CheckpointsDirectory(stage.directory)).value_or("");
  if (!checkpoint.empty() || !stage.config || !run.recipe) return checkpoint;
  const StageConfig* const before = run.recipe->StageBefore(*stage.config);
  if (before == nullptr) return stage.config->from;
  const ReportStage* const other = run.Find(before->name);
  return other == nullptr ? "" : PolicyDirectory(run, *other);
}

}  // namespace temper
