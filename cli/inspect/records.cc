// SPDX-License-Identifier: Apache-2.0
#include "cli/inspect/records.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <memory>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/line/command.h"
#include "cli/line/rows.h"
#include "cli/report/run.h"
#include "core/files/file.h"
#include "core/stop.h"
#include "core/text.h"
#include "data/record_file.h"
#include "rewards/statistics.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

constexpr int kCellWidth = 8;

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
  int64_t groups = 0, trajectories = 0, tokens = 0;  // sampled ones
  double logprobs = 0;
  std::vector<double> lengths;
  std::map<std::string, int64_t> tasks, stops;
  std::map<std::string, std::map<std::string, int64_t>> verdicts;  // rule -> kind -> count

  void Add(const Group& group) {
    ++groups;
    ++tasks[group.prompt.task];
    for (const Trajectory& trajectory : group.trajectories) {
      ++trajectories;
      tokens += trajectory.sampled();
      lengths.push_back(trajectory.sampled());
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

// Rollouts as a table, a line each: shares in percent; of each rule its completions that are correct.
std::string Table(const std::vector<std::pair<std::string, Counts>>& rows) {
  std::vector<std::string> rules;
  size_t width = 7;
  for (const auto& [name, counts] : rows) {
    width = std::max(width, Printable(name, 60).size());
    for (const auto& [rule, kinds] : counts.verdicts) {
      if (std::find(rules.begin(), rules.end(), rule) == rules.end()) rules.push_back(rule);
    }
  }
  std::string text =
      absl::StrFormat("%-*s  groups  samples  tokens    p10    p50    p90    cut", width, "records");
  for (const std::string& rule : rules)
    absl::StrAppendFormat(&text, "  %*s", kCellWidth, Printable(rule, 30));
  text += "\n";
  for (const auto& [name, counts] : rows) {
    const double samples = std::max<double>(1, counts.trajectories);
    const auto share = [&](const std::map<std::string, int64_t>& of, const char* what) {
      const auto found = of.find(what);
      return absl::StrFormat("%.1f%%", 100 * (found == of.end() ? 0 : found->second) / samples);
    };
    absl::StrAppendFormat(&text, "%-*s  %6d  %7d  %6.1f  %5.0f  %5.0f  %5.0f  %5s", width,
                          Printable(name, 60), counts.groups, counts.trajectories, counts.tokens / samples,
                          Quantile(counts.lengths, 0.1), Quantile(counts.lengths, 0.5),
                          Quantile(counts.lengths, 0.9), share(counts.stops, Name(StopReason::kLength)));
    for (const std::string& rule : rules) {
      const auto kinds = counts.verdicts.find(rule);
      const size_t cell = std::max<size_t>(kCellWidth, Printable(rule, 30).size());
      absl::StrAppendFormat(
          &text, "  %*s", cell,
          kinds == counts.verdicts.end() ? "-" : share(kinds->second, Name(VerdictKind::kCorrect)));
    }
    text += "\n";
  }
  return text + "Of each rule: the share of completions that it calls correct.\n";
}

// What is not finite has no word in JSON.
Json Number(float value) {
  if (!std::isfinite(value)) return nullptr;
  return std::strtod(FormatFloat(value).c_str(), nullptr);
}

absl::StatusOr<int64_t> ExportTo(const RecordPlaces& places,
                                 absl::FunctionRef<absl::Status(const Json&)> write) {
  int64_t count = 0;
  StageOfRecords stage_of;
  TEMPER_RETURN_IF_ERROR(ForEachPlace(places, [&](const std::string& name, const std::vector<Group>& groups) {
    const ReportStage* const stage = stage_of.Find(name);
    for (const Group& group : groups) {
      const std::vector<Earned> earned = EarnedIn(stage, group);
      for (size_t i = 0; i < group.trajectories.size(); ++i) {
        if (StopRequested()) return absl::Status(absl::CancelledError("stopped on request"));
        TEMPER_RETURN_IF_ERROR(write(TrajectoryJson(group, group.trajectories[i], earned[i])));
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
  const auto add = [&](const std::string& folder) {
    const std::vector<std::string> prefixes = RecordPrefixes(folder);
    places.prefixes.insert(places.prefixes.end(), prefixes.begin(), prefixes.end());
  };
  if (places.empty()) add(path);
  if (!places.empty()) return places;
  const auto add_stage = [&](const std::string& directory) {
    add(TrajectoriesDirectory(directory));
    add(EvaluationDirectory(directory));
  };
  add_stage(path);
  if (!places.empty() || !IsRunDirectory(path)) return places;
  const absl::StatusOr<ReportRun> run = ReadReportRun(path);
  if (!run.ok()) return places;
  for (const ReportStage& stage : run->stages) add_stage(stage.directory);
  return places;
}

absl::StatusOr<std::string> DescribeRecords(const RecordPlaces& places) {
  std::vector<std::pair<std::string, Counts>> rows;
  TEMPER_RETURN_IF_ERROR(ForEachPlace(places, [&](const std::string& name, const std::vector<Group>& groups) {
    Counts counts;
    for (const Group& group : groups) counts.Add(group);
    rows.emplace_back(name, std::move(counts));
    return absl::OkStatus();
  }));
  if (rows.size() == 1) return Describe(rows[0].first, rows[0].second);
  for (auto& [name, counts] : rows) name = name.substr(name.rfind('/') + 1);
  return Table(rows);
}

Json TrajectoryJson(const Group& group, const Trajectory& trajectory, const Earned& earned) {
  const auto or_null = [](const auto& value) { return value ? Json(*value) : Json(nullptr); };
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
               {"segments", Json::array()},
               {"entropy_sum", trajectory.entropy_sum},
               {"reward", or_null(earned.reward)},
               {"advantage", or_null(earned.advantage)},
               {"solved", or_null(earned.solved)},
               {"verdicts", Json::array()}};
  for (const std::optional<float>& logprob : LogprobsByToken(trajectory))
    json["logprobs"].push_back(logprob ? Number(*logprob) : Json(nullptr));
  for (const Segment& segment : trajectory.segments) {
    json["segments"].push_back({{"kind", Name(segment.kind)},
                                {"first", segment.first},
                                {"count", segment.count},
                                {"policy_version", segment.policy_version}});
  }
  for (const Verdict& verdict : trajectory.verdicts) {
    json["verdicts"].push_back({{"rule", verdict.rule},
                                {"verdict", Name(verdict.kind)},
                                {"score", verdict.score},
                                {"extracted", verdict.extracted},
                                {"reason", verdict.reason}});
  }
  return json;
}

absl::StatusOr<std::unique_ptr<LinesFile>> LinesFile::Create(const std::string& path,
                                                             const std::vector<std::string>& inputs) {
  TEMPER_RETURN_IF_ERROR(CheckOutput(path, inputs));
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<AtomicFile> file, AtomicFile::Create(path));
  return std::unique_ptr<LinesFile>(new LinesFile(std::move(file)));
}

absl::Status LinesFile::Write(const Json& json) {
  const std::string line = DumpJson(json) + "\n";
  TEMPER_RETURN_IF_ERROR(file_->WriteAt(bytes_, line));
  bytes_ += static_cast<int64_t>(line.size());
  return absl::OkStatus();
}

absl::StatusOr<int64_t> ExportRecords(const std::string& path, const RecordPlaces& places,
                                      const std::string& file) {
  if (file == "-") return ExportTo(places, [](const Json& json) { return WriteRow(DumpJson(json)); });
  if (absl::EndsWith(file, ".records")) {
    return absl::InvalidArgumentError(
        absl::StrCat(Printable(file, 1000), ": has a run's ending, and lines are written: name it .jsonl"));
  }
  TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<LinesFile> out, LinesFile::Create(file, RunFiles(path)));
  TEMPER_ASSIGN_OR_RETURN(const int64_t count,
                          ExportTo(places, [&](const Json& json) { return out->Write(json); }));
  TEMPER_RETURN_IF_ERROR(out->Commit());
  return count;
}

}  // namespace temper
