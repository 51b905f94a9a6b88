// SPDX-License-Identifier: Apache-2.0
#include "cli/job/state.h"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/job/child.h"
#include "cli/report/run.h"
#include "comm/watchdog.h"
#include "core/files/file.h"
#include "core/files/held_file.h"
#include "core/host.h"
#include "core/status.h"
#include "data/record_file.h"
#include "trainer/run_directory/journal.h"
#include "trainer/run_directory/run_directory.h"
#include "trainer/run_directory/supervision.h"

namespace temper {
namespace {

// Between signs of life (trainer/run_directory/journal.h) there are a few seconds, or an update.
constexpr double kSoon = 15, kLong = 60, kLongUpdates = 3;
constexpr size_t kLately = 20;  // updates

std::string TextOf(const Json& object, const char* key) {
  return GetString(object, key, "", "").value_or("");
}
double NumberOf(const Json& object, const char* key) { return GetDouble(object, key, "", 0).value_or(0); }

Json ReadJsonFile(const std::string& path) {
  const auto text = ReadFile(path, 1 << 20);
  return text.ok() ? ParseJson(*text, path).value_or(Json::object()) : Json::object();
}

// What squeue says of a job; empty where there is no such job, or no squeue.
std::string JobState(const std::string& job) {
  if (job.empty() || !IsOnPath("squeue")) return "";
  const auto output = OutputOf({"squeue", "--noheader", "--states=all", "--format=%T", "--jobs=" + job});
  if (!output.ok()) return "";
  return std::string(absl::StripAsciiWhitespace(*output));
}

void ReadEvents(const std::vector<Json>& journal, RunState* state) {
  std::string before;  // how the last start ended
  for (const Json& event : journal) {
    const std::string kind = TextOf(event, "event");
    const double at = NumberOf(event, "unix_seconds");
    state->last_sign = std::max(state->last_sign, at);
    if (kind == "start") {
      ++state->starts;
      if (before == "stopped") ++state->after_stop;
      if (before == "failed" || before == "lost") ++state->after_fault;
      state->since = at;
      state->ended = 0;
      state->how = RunState::kRunning;
      state->ranks = static_cast<int64_t>(NumberOf(event, "ranks"));
      state->pid = static_cast<int64_t>(NumberOf(event, "pid"));
      state->device = TextOf(event, "device");
      state->temper = TextOf(event, "temper");
      if (const Json* const hosts = Find(event, "hosts"); hosts != nullptr && hosts->is_object())
        state->hosts = *hosts;
      if (!TextOf(event, "job").empty()) state->job = TextOf(event, "job");
    } else if (kind == "stage") {
      state->stage = TextOf(event, "stage");
      state->update = static_cast<int64_t>(NumberOf(event, "step"));
    } else if (kind == "end") {
      before = TextOf(event, "how");
      state->ended = at;
      state->why = TextOf(event, "why");
      state->how = before == "finished"  ? RunState::kFinished
                   : before == "stopped" ? RunState::kStopped
                   : before == "failed"  ? RunState::kFailed
                                         : RunState::kLost;
    }
  }
}

// What goes on in the stage, by its metrics and by what the run says of itself.
void ReadStage(const ReportRun& run, const Json& live, RunState* state) {
  state->stages = static_cast<int64_t>(run.stages.size());
  for (size_t i = 0; i < run.stages.size(); ++i) {
    const ReportStage& stage = run.stages[i];
    std::map<std::string, std::string> alarms;  // by figure, the newest
    for (const MetricsLine& line : stage.metrics) {
      if (const double* at = line.Find("time/unix_seconds"))
        state->last_sign = std::max(state->last_sign, *at);
      for (const auto& [name, value] : line.values)
        if (absl::StartsWith(name, "alarm/"))
          alarms[name] = absl::StrCat(name, " ", value, " at update ", line.step, " of ", stage.name);
    }
    for (const auto& [name, text] : alarms) state->alarms.push_back(text);
    if (stage.name != state->stage) continue;
    state->stage_number = static_cast<int64_t>(i) + 1;
    state->update = std::max(state->update, stage.step());
    state->updates = stage.planned_steps();
    if (TextOf(live, "stage") == stage.name)
      state->updates = std::max(state->updates, static_cast<int64_t>(NumberOf(live, "total")));
    // Updates of this start, lately.
    std::vector<double> times;
    for (const MetricsLine& line : stage.metrics) {
      const double* const at = line.Find("time/unix_seconds");
      if (at != nullptr && *at >= state->since) times.push_back(*at);
    }
    const size_t count = std::min(times.size(), kLately);
    if (count >= 2)
      state->update_seconds = (times.back() - times[times.size() - count]) / static_cast<double>(count - 1);
  }
  if (TextOf(live, "stage").empty()) return;
  state->doing = absl::StrCat(TextOf(live, "stage"), " ", static_cast<int64_t>(NumberOf(live, "done")), "/",
                              static_cast<int64_t>(NumberOf(live, "total")));
  for (const char* part : {"text", "note"})
    if (!TextOf(live, part).empty()) absl::StrAppend(&state->doing, ", ", TextOf(live, part));
}

// A run without an end: whether it lives.
void JudgeSilence(RunState* state) {
  if (state->how != RunState::kRunning || state->silent() < kSoon) return;
  const bool here = Find(state->hosts, ThisHost()) != nullptr;
  const double longest = std::max(kLong, kLongUpdates * state->update_seconds.value_or(0));
  if (IsLocked(state->directory)) {  // RunLock
    if (state->silent() > longest) state->how = RunState::kSilent;
  } else if (here && state->hosts.begin().key() == ThisHost()) {
    state->how = RunState::kLost;  // the first rank was here, and its lock is gone
  } else if (state->silent() > longest) {
    state->how = RunState::kSilent;
  }
}

// Of a record file: "PREFIX" of "PREFIX.rank-3.records".
std::string BeforeRank(const std::string& path) { return path.substr(0, path.rfind(".rank-")); }

}  // namespace

const char* RunState::HowText() const {
  constexpr const char* kTexts[] = {
      "not begun", "waiting in the queue", "running", "silent", "lost", "stopped", "failed", "finished"};
  return kTexts[how];
}

double RunState::silent() const { return last_sign == 0 ? 0 : std::max(0.0, now - last_sign); }

std::optional<double> RunState::eta() const {
  if (how != kRunning || !update_seconds || updates <= update) return std::nullopt;
  return *update_seconds * static_cast<double>(updates - update);
}

std::string WhatLasts(const std::string& run_directory) {
  std::vector<std::pair<std::string, struct stat>> records;
  std::map<std::string, std::string> last;  // of each folder's records, by name: up to the rank
  size_t all = 0;
  int64_t newest = 0;  // of what stands, in seconds
  const auto add = [&](const std::string& path, int64_t bytes, int64_t when) {
    all += std::hash<std::string>()(absl::StrCat(path, " ", bytes, " ", when));
  };
  std::error_code error;
  for (auto at = std::filesystem::recursive_directory_iterator(run_directory, error);
       !error && at != std::filesystem::recursive_directory_iterator(); at.increment(error)) {
    const std::string path = at->path(), name = at->path().filename();
    const bool stands = name == "state.json" || name == "stage.json";
    struct stat info;
    if ((!stands && !absl::EndsWith(name, ".records")) || stat(path.c_str(), &info) != 0) continue;
    if (!stands) {
      records.emplace_back(path, info);
      std::string& greatest = last[at->path().parent_path()];
      greatest = std::max(greatest, BeforeRank(path));
      continue;
    }
    newest = std::max<int64_t>(newest, info.st_mtim.tv_sec);
    add(path, info.st_size, info.st_mtim.tv_sec);
  }
  // A record file that is opened again is another file of the same records, without what a crash left behind
  // them. Those that are older than the newest checkpoint, and not of their folder's last rollout, have
  // nothing more to come, and may be many.
  for (const auto& [path, info] : records) {
    const bool is_over =
        info.st_mtim.tv_sec < newest && BeforeRank(path) != last[std::filesystem::path(path).parent_path()];
    const int64_t end = is_over ? info.st_size : EndOfRecords(path).value_or(info.st_size);
    if (end > 0) add(path, end, 0);
  }
  return absl::StrCat(absl::Hex(all, absl::kZeroPad16));
}

absl::StatusOr<RunState> ReadRunState(const std::string& run_directory) {
  RunState state;
  state.directory = run_directory;
  state.now = static_cast<double>(absl::ToUnixMillis(absl::Now())) / 1e3;
  TEMPER_ASSIGN_OR_RETURN(std::vector<Json> journal, ReadJournal(run_directory));
  ReadEvents(journal, &state);
  const Json live = ReadJsonFile(StatusPath(run_directory));
  if (NumberOf(live, "unix_seconds") >= state.since)
    state.last_sign = std::max(state.last_sign, NumberOf(live, "unix_seconds"));
  if (IsRunDirectory(run_directory)) {
    TEMPER_ASSIGN_OR_RETURN(const ReportRun run, ReadReportRun(run_directory));
    ReadStage(run, live, &state);
    if (run.recipe) state.cost_per_gpu_hour = run.recipe->cost_per_gpu_hour;
    journal.push_back({{"event", "end"}, {"unix_seconds", state.last_sign}});  // hours so far
    for (const ReportStage& stage : run.stages) {
      const StageHours hours = HoursOf(journal, stage.name);
      state.device_hours += hours.held;
      state.lost_device_hours += hours.lost;
    }
  }
  const std::string watch = StartsWatchDirectory(run_directory, StartOf(journal));
  const auto found = ReadFound(watch);
  if (found.ok() && !found->text.empty() && state.how == RunState::kRunning) {
    state.how = RunState::kLost;
    state.why = found->text;
    state.ended = found->unix_seconds;
  }
  JudgeSilence(&state);
  state.kept = IsLocked(run_directory) || IsSupervised(run_directory);
  if (state.lives()) state.rank_lines = ReadSeen(watch);
  // A job that was launched after the last start, or that Slurm queued again.
  const std::string launched = TextOf(ReadJsonFile(LaunchedPath(run_directory)), "job");
  if (!launched.empty()) state.job = launched;
  if (state.how != RunState::kRunning) {
    state.job_state = JobState(state.job);
    if (state.job_state == "PENDING" || state.job_state == "CONFIGURING") state.how = RunState::kQueued;
  }
  return state;
}

}  // namespace temper
