// SPDX-License-Identifier: Apache-2.0
#include "cli/job/status.h"

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "cli/job/state.h"
#include "cli/line/options.h"
#include "cli/line/rows.h"
#include "core/text.h"

namespace temper {
namespace {

struct StatusOptions {
  bool json = false, lasts = false;

  template <class V>
  void Fields(V& v) {
    v.Field("json", json, "One JSON object on one line; times are Unix seconds.");
    v.Field("lasts", lasts,
            "Nothing but a word for what is there for good: another one once there is a new sample, "
            "checkpoint or stage.");
  }
};

std::string Span(double seconds) {
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 120) return absl::StrFormat("%.3g s", seconds);
  if (whole < 7200) return absl::StrFormat("%d min", whole / 60);
  if (whole < 172800) return absl::StrFormat("%d:%02d h", whole / 3600, whole / 60 % 60);
  return absl::StrFormat("%d days", whole / 86400);
}

std::string Date(double unix_seconds) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixMillis(static_cast<int64_t>(unix_seconds * 1e3)),
                          absl::LocalTimeZone());
}

// What follows "running", and what to do.
std::string More(const RunState& state) {
  switch (state.how) {
    case RunState::kSilent:
      return absl::StrCat(": nothing has been written for ", Span(state.silent()),
                          ": it hangs, was killed, or its machine is gone; look at ",
                          state.hosts.empty()
                              ? "its machine"
                              : absl::StrCat(state.hosts.begin().key(), ", process ", state.pid));
    case RunState::kLost:
      return absl::StrCat(state.why.empty() ? ": was killed, or its machine went down" : ": " + state.why,
                          ", at ", Date(state.ended > 0 ? state.ended : state.last_sign),
                          "; the same command goes on from the last checkpoint");
    case RunState::kStopped:
    case RunState::kFailed:
      return absl::StrCat(" at ", Date(state.ended), ": ", state.why);
    case RunState::kFinished:
      return absl::StrCat(" at ", Date(state.ended));
    default:
      return "";
  }
}

std::string Text(const RunState& state) {
  const bool begins = state.lives() && state.how != RunState::kRunning && state.how != RunState::kSilent;
  std::string text =
      absl::StrCat("run      ", Printable(state.directory, 1000), ": ", state.HowText(), More(state),
                   !begins                            ? ""
                   : state.how == RunState::kFinished ? "; its folder is in use"
                                                      : "; it is being started",
                   "\n");
  if (!state.job.empty())
    absl::StrAppend(&text, "job      ", state.job, state.job_state.empty() ? "" : ", ", state.job_state,
                    "\n");
  if (!state.stage.empty()) {
    absl::StrAppend(&text, "stage    ", state.stage, " (", state.stage_number, " of ", state.stages, ")");
    if (state.update > 0 || state.updates > 0) absl::StrAppend(&text, ": update ", state.update);
    if (state.updates > 0) absl::StrAppend(&text, " of ", state.updates);
    if (state.update_seconds) absl::StrAppend(&text, ", ", Span(*state.update_seconds), " each");
    if (const auto eta = state.eta()) absl::StrAppend(&text, ", ", Span(*eta), " left");
    text += "\n";
  }
  if (state.lives())
    absl::StrAppend(&text, "now      ", state.doing.empty() ? "" : Printable(state.doing, 400) + "; ",
                    "last sign of life ", Span(state.silent()), " ago\n");
  for (const std::string& line : state.rank_lines) absl::StrAppend(&text, "         ", line, "\n");
  if (state.starts == 0) return text;
  std::vector<std::string> hosts;
  for (const auto& [host, ranks] : state.hosts.items())
    hosts.push_back(
        absl::StrCat(Printable(host, 100), " (", ranks.is_number() ? ranks.get<int64_t>() : 0, ")"));
  absl::StrAppend(&text, "ranks    ", state.ranks, " on ", absl::StrJoin(hosts, ", "), ", device ",
                  Printable(state.device, 40), "\n");
  absl::StrAppend(&text, "starts   ", state.starts, ", the last at ", Date(state.since), "; ",
                  state.after_stop, " after a stop, ", state.after_fault, " after a fault\n");
  absl::StrAppend(&text,
                  absl::StrFormat("hours    %.2f of a device, %.2f of them lost to restarts and faults",
                                  state.device_hours, state.lost_device_hours));
  if (state.cost_per_gpu_hour > 0)
    absl::StrAppend(
        &text, absl::StrFormat("; cost %.2f, %.2f of it lost", state.device_hours * state.cost_per_gpu_hour,
                               state.lost_device_hours * state.cost_per_gpu_hour));
  absl::StrAppend(&text, "\nalarms   ", state.alarms.empty() ? "none" : absl::StrJoin(state.alarms, "; "),
                  "\n");
  return text;
}

Json JsonOf(const RunState& state) {
  const auto number = [](const std::optional<double>& value) { return value ? Json(*value) : Json(); };
  const auto time = [](double at) { return at > 0 ? Json(at) : Json(); };
  return {{"run", state.directory},
          {"state", state.HowText()},
          {"kept", state.kept},
          {"why", state.why},
          {"job", state.job},
          {"job_state", state.job_state},
          {"stage", state.stage},
          {"stage_number", state.stage_number},
          {"stages", state.stages},
          {"update", state.update},
          {"updates", state.updates},
          {"update_seconds", number(state.update_seconds)},
          {"seconds_left", number(state.eta())},
          {"doing", state.doing},
          {"rank_lines", state.rank_lines},
          {"last_sign", time(state.last_sign)},
          {"silent_seconds", state.silent()},
          {"ranks", state.ranks},
          {"hosts", state.hosts},
          {"device", state.device},
          {"pid", state.pid},
          {"temper", state.temper},
          {"started", time(state.since)},
          {"ended", time(state.ended)},
          {"starts", state.starts},
          {"after_stop", state.after_stop},
          {"after_fault", state.after_fault},
          {"device_hours", state.device_hours},
          {"lost_device_hours", state.lost_device_hours},
          {"cost_per_gpu_hour", state.cost_per_gpu_hour},
          {"alarms", state.alarms}};
}

}  // namespace

absl::Status RunStatus(const CommandLine& line) {
  StatusOptions options;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> rest, ParseOptions(line.arguments, options));
  if (rest.size() != 1) return absl::InvalidArgumentError("expected a run's folder: temper status RUN_DIR");
  if (options.lasts) return WriteOut(WhatLasts(rest[0]) + "\n");
  TEMPER_ASSIGN_OR_RETURN(const RunState state, ReadRunState(rest[0]));
  if (state.how == RunState::kNever && state.job.empty() && !state.kept)
    return absl::NotFoundError(absl::StrCat(Printable(rest[0], 1000), ": no run has begun there"));
  return WriteOut(options.json ? DumpJson(JsonOf(state)) + "\n" : Text(state));
}

std::string StatusHelp() { return HelpOf<StatusOptions>(); }

}  // namespace temper
