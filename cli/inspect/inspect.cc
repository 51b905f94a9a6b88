// SPDX-License-Identifier: Apache-2.0
#include "cli/inspect/inspect.h"

#include <cstdio>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/inspect/model.h"
#include "cli/inspect/records.h"
#include "cli/line/options.h"
#include "cli/line/rows.h"
#include "cli/report/run.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "trainer/recipe.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

struct InspectOptions {
  bool digest = false;
  std::string export_file;

  template <class V>
  void Fields(V& v) {
    v.Field(
        "digest", digest,
        "Of a run directory: only its digest, a SHA-256 over weights, optimizer, trajectories and metrics.");
    v.Field("export", export_file,
            "Write the trajectories of a record file, a stage or a run as JSON lines to this file; -: "
            "standard output.");
  }
};

std::string ProgressOf(const ReportStage& stage) {
  if (!stage.summary.is_null()) return "done";
  if (stage.metrics.empty()) return "to come";
  const int64_t planned = stage.planned_steps();
  return absl::StrCat("update ", stage.step(), planned > 0 ? absl::StrCat(" of ", planned) : "");
}

// A run's stages, and the last metrics line of the one that has metrics last.
absl::StatusOr<std::string> DescribeRun(const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const ReportRun run, ReadReportRun(path));
  std::string text = absl::StrCat("run          ", Printable(run.directory, 1000));
  if (run.recipe) absl::StrAppend(&text, ", seed ", run.recipe->seed);
  text += "\n";
  const ReportStage* last = nullptr;
  for (const ReportStage& stage : run.stages) {
    const size_t files = RecordPrefixes(TrajectoriesDirectory(stage.directory)).size();
    absl::StrAppendFormat(&text, "  %-14s %-9s %s", Printable(stage.name), Printable(stage.kind()),
                          ProgressOf(stage));
    if (const auto pass = stage.Value("pass@1")) absl::StrAppendFormat(&text, ", pass@1 %.4f", *pass);
    if (const auto hard = stage.Value("hard/pass@1"))
      absl::StrAppendFormat(&text, ", hard/pass@1 %.4f", *hard);
    if (const auto seconds = stage.Value("seconds")) absl::StrAppendFormat(&text, ", %.1f s", *seconds);
    if (files > 0) absl::StrAppend(&text, ", ", files, files == 1 ? " rollout" : " rollouts");
    text += "\n";
    if (!stage.metrics.empty()) last = &stage;
  }
  if (last != nullptr) {
    absl::StrAppend(&text, "last metrics ", Printable(last->name), ", update ", last->step(), "\n");
    for (const auto& [name, value] : last->metrics.back().values) {
      absl::StrAppendFormat(&text, "  %-24s %s\n", Printable(name), FormatDouble(value));
    }
  }
  for (const std::string& note : run.notes) absl::StrAppend(&text, "left out     ", note, "\n");
  return text;
}

bool IsModelDirectory(const std::string& path) {
  return FileExists(path + "/config.json") || FileExists(path + "/model.safetensors") ||
         FileExists(path + "/model.safetensors.index.json");
}

absl::Status Unknown(const std::string& path, const char* what) {
  return absl::InvalidArgumentError(absl::StrCat(Printable(path, 1000), ": ", what));
}

absl::Status PrintDigest(const std::string& path) {
  TEMPER_RETURN_IF_ERROR(CheckReadable(path));
  if (!IsRunDirectory(path)) return Unknown(path, "--digest is of a run directory, and this is none");
  TEMPER_ASSIGN_OR_RETURN(const std::string digest, RunDigest(path));
  return WriteOut(digest);
}

absl::Status Export(const std::string& path, const std::string& file) {
  TEMPER_RETURN_IF_ERROR(CheckReadable(path));
  const RecordPlaces places = FindRecords(path);
  if (places.empty()) return Unknown(path, "--export found no trajectories here (*.records)");
  TEMPER_ASSIGN_OR_RETURN(const int64_t count, ExportRecords(path, places, file));
  std::fprintf(stderr, "%lld trajectories exported\n", static_cast<long long>(count));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> Inspect(const std::string& path) {
  TEMPER_RETURN_IF_ERROR(CheckReadable(path));
  if (absl::EndsWith(path, ".safetensors")) return DescribeWeightFile(path);
  if (IsRunDirectory(path)) return DescribeRun(path);
  if (IsModelDirectory(path)) return DescribeModel(path);
  const RecordPlaces places = FindRecords(path);
  if (!places.empty()) return DescribeRecords(places);
  if (!FileExists(path)) return absl::NotFoundError(absl::StrCat(Printable(path, 1000), ": is not there"));
  return Unknown(
      path,
      "is neither a model, nor a run, nor trajectories: it has no config.json, config.yaml, metrics.jsonl or "
      "*.records");
}

absl::Status RunInspect(const CommandLine& line) {
  InspectOptions options;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> rest, ParseOptions(line.arguments, options));
  if (rest.size() != 1)
    return absl::InvalidArgumentError("inspect takes one PATH: temper inspect PATH; see --help");
  if (options.digest && !options.export_file.empty()) {
    return absl::InvalidArgumentError("--digest and --export do not go together: call inspect twice");
  }
  if (options.digest) return PrintDigest(rest[0]);
  if (!options.export_file.empty()) return Export(rest[0], options.export_file);
  TEMPER_ASSIGN_OR_RETURN(const std::string text, Inspect(rest[0]));
  return WriteOut(text);
}

std::string InspectHelp() { return OptionsHelp(DescribeConfig<InspectOptions>()); }

}  // namespace temper
