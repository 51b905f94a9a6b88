// SPDX-License-Identifier: Apache-2.0
#include "cli/inspect_records.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/command.h"
#include "cli/report_run.h"
#include "cli/rows.h"
#include "core/file.h"
#include "core/text.h"
#include "data/record_file.h"
#include "rewards/statistics.h"
#include "trainer/stage.h"

namespace temper {
namespace {

using Consume = absl::FunctionRef<absl::Status(const std::string& name, const std::vector<Group>& groups)>;

// One file or prefix after the other: no more than one is in memory.
absl::Status ForEachPlace(const RecordPlaces& places, Consume consume) {
  if (!places.file.empty()) {
    TEMPER_ASSIGN_OR_RETURN(const std::vector<Group> groups, ReadGroupFile(places.file));
    return consume(places.file, groups);
  }
  for (const std::string& prefix : places.prefixes) {
    TEMPER_ASSIGN_OR_RETURN(const std::vector<Group> groups, ReadGroups(prefix));
    TEMPER_RETURN_IF_ERROR(consume(prefix, groups));
  }
  return absl::OkStatus();
}

struct Counts {
  int64_t groups = 0, trajectories = 0, tokens = 0;
  double logprobs = 0;
  std::vector<double> lengths;
  std::map<std::string, int64_t> tasks, stops;
  std::map<std::string, std::map<std::string, int64_t>> verdicts;  // rule -> kind -> count

  void Add(const Group& group) {
    ++groups;
    ++tasks[group.prompt.task];
    for (const Trajectory& trajectory : group.trajectories) {
      ++trajectories;
      tokens += trajectory.tokens.size();
      lengths.push_back(trajectory.tokens.size());
      ++stops[Name(trajectory.stop)];
      for (const float logprob : trajectory.logprobs) logprobs += logprob;
      for (const Verdict& verdict : trajectory.verdicts) ++verdicts[verdict.rule][Name(verdict.kind)];
    }
  }
};

std::string Listed(const std::map<std::string, int64_t>& counts) {
  std::vector<std::string> parts;
  for (const auto& [name, count] : counts) parts.push_back(absl::StrCat(Printable(name), " ", count));
  return absl::StrJoin(parts, ", ");
}

std::string Describe(const std::string& name, const Counts& counts) {
  std::string text = absl::StrCat(Printable(name, 1000), ": ", counts.groups, " groups, ",
                                  counts.trajectories, " trajectories, ", counts.tokens, " tokens\n");
  if (counts.trajectories == 0) return text;
  absl::StrAppend(&text, "  tasks     ", Listed(counts.tasks), "\n");
  absl::StrAppendFormat(&text, "  length    mean %.1f, p10 %.0f, p50 %.0f, p90 %.0f\n",
                        double(counts.tokens) / counts.trajectories, Quantile(counts.lengths, 0.1),
                        Quantile(counts.lengths, 0.5), Quantile(counts.lengths, 0.9));
  absl::StrAppend(&text, "  stop      ", Listed(counts.stops), "\n");
  if (counts.tokens > 0)
    absl::StrAppendFormat(&text, "  logprob   %.4f a token\n", counts.logprobs / counts.tokens);
  for (const auto& [rule, kinds] : counts.verdicts) {
    absl::StrAppendFormat(&text, "  %-9s %s\n", Printable(rule), Listed(kinds));
  }
  return text;
}

// What is not finite has no word in JSON.
Json Number(float value) {
  if (!std::isfinite(value)) return nullptr;
  return std::strtod(FormatFloat(value).c_str(), nullptr);
}

absl::StatusOr<int64_t> ExportTo(const RecordPlaces& places,
                                 absl::FunctionRef<absl::Status(const std::string&)> write) {
  int64_t count = 0;
  TEMPER_RETURN_IF_ERROR(ForEachPlace(places, [&](const std::string&, const std::vector<Group>& groups) {
    for (const Group& group : groups) {
      for (const Trajectory& trajectory : group.trajectories) {
        if (StopRequested()) return absl::Status(absl::CancelledError("stopped on request"));
        TEMPER_RETURN_IF_ERROR(write(DumpJson(TrajectoryJson(group, trajectory)) + "\n"));
        ++count;
      }
    }
    return absl::OkStatus();
  }));
  return count;
}

}  // namespace

RecordPlaces FindRecords(const std::string& path) {
  if (absl::EndsWith(path, ".records")) return {.file = path, .prefixes = {}};
  RecordPlaces places;
  if (FileExists(RecordPath(path, 0))) places.prefixes = {path};
  for (const std::string& folder : {path, TrajectoriesDirectory(path), path + "/evaluation"}) {
    if (places.empty()) places.prefixes = RecordPrefixes(folder);
  }
  if (!places.empty() || !IsRunDirectory(path)) return places;
  const absl::StatusOr<ReportRun> run = ReadReportRun(path);
  if (!run.ok()) return places;
  for (const ReportStage& stage : run->stages) {
    const std::vector<std::string> prefixes = RecordPrefixes(TrajectoriesDirectory(stage.directory));
    places.prefixes.insert(places.prefixes.end(), prefixes.begin(), prefixes.end());
  }
  return places;
}

absl::StatusOr<std::string> DescribeRecords(const RecordPlaces& places) {
  std::string text;
  TEMPER_RETURN_IF_ERROR(ForEachPlace(places, [&](const std::string& name, const std::vector<Group>& groups) {
    Counts counts;
    for (const Group& group : groups) counts.Add(group);
    text += Describe(name, counts);
    return absl::OkStatus();
  }));
  return text;
}

Json TrajectoryJson(const Group& group, const Trajectory& trajectory) {
  Json json = {{"stage", group.stage},
               {"rollout", group.rollout},
               {"prompt_id", trajectory.prompt_id},
               {"task", group.prompt.task},
               {"sample", trajectory.sample},
               {"prompt", group.prompt.text},
               {"answer", group.prompt.answer},
               {"prompt_tokens", group.prompt.tokens},
               {"completion", trajectory.text},
               {"tokens", trajectory.tokens},
               {"logprobs", Json::array()},
               {"stop", Name(trajectory.stop)},
               {"policy_version", trajectory.policy_version},
               {"entropy_sum", trajectory.entropy_sum},
               {"verdicts", Json::array()}};
  for (const float logprob : trajectory.logprobs) json["logprobs"].push_back(Number(logprob));
  for (const Verdict& verdict : trajectory.verdicts) {
    json["verdicts"].push_back({{"rule", verdict.rule},
                                {"verdict", Name(verdict.kind)},
                                {"score", verdict.score},
                                {"extracted", verdict.extracted},
                                {"reason", verdict.reason}});
  }
  return json;
}

absl::StatusOr<int64_t> ExportRecords(const RecordPlaces& places, const std::string& file) {
  if (file == "-") return ExportTo(places, WriteOut);
  std::error_code unknown;
  if (FileExists(file) && !std::filesystem::is_regular_file(file, unknown)) {
    return absl::FailedPreconditionError(
        absl::StrCat(Printable(file, 1000), ": is no regular file; - is standard output"));
  }
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> out, AtomicFile::Create(file));
  int64_t bytes = 0;
  TEMPER_ASSIGN_OR_RETURN(const int64_t count, ExportTo(places, [&](const std::string& line) {
                            const int64_t at = bytes;
                            bytes += static_cast<int64_t>(line.size());
                            return out->WriteAt(at, line);
                          }));
  TEMPER_RETURN_IF_ERROR(out->Commit());
  return count;
}

}  // namespace temper
