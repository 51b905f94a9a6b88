// SPDX-License-Identifier: Apache-2.0
#include "cli/job/stop.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "cli/job/child.h"
#include "cli/job/state.h"
#include "cli/line/options.h"
#include "cli/line/rows.h"
#include "core/files/file.h"
#include "core/log.h"
#include "core/stop.h"
#include "core/text.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

constexpr absl::Duration kBetweenLooks = absl::Milliseconds(500), kBetweenLines = absl::Seconds(10);

struct StopOptions {
  double timeout = 0;

  template <class V>
  void Fields(V& v) {
    v.Field(
        "timeout", timeout,
        "Seconds to wait until it is down; the request stays. 0: as long as it takes, which is an update, a "
        "step of sampling or the writing of a checkpoint.",
        Between(0.0, 1e9));
  }
};

// Whether the state is one to wait for; where not, what it says.
absl::Status Ended(const RunState& state) {
  const std::string name = Printable(state.directory, 1000);
  if (state.how == RunState::kFailed || state.how == RunState::kLost)
    return absl::UnavailableError(absl::StrCat(name, ": ended by itself before it stopped: ", state.HowText(),
                                               " ", state.why,
                                               "; the same command goes on from the last checkpoint"));
  return WriteOut(absl::StrCat(name, ": ", state.HowText(), state.why.empty() ? "" : ": ", state.why, "\n"));
}

absl::Status Wait(const RunState& before, double timeout) {
  const absl::Time began = absl::Now();
  absl::Time told = began;
  int64_t starts = before.starts;
  for (;;) {
    absl::SleepFor(kBetweenLooks);
    TEMPER_ASSIGN_OR_RETURN(const RunState state, ReadRunState(before.directory));
    const bool asked = FileExists(StopPath(before.directory));
    if (!state.lives()) return Ended(state);
    // One that took it for a request of before was begun by somebody since; else it was about to begin.
    if (!asked && state.starts > starts) return Ended(before);
    starts = state.starts;
    if (!asked) TEMPER_RETURN_IF_ERROR(WriteFileAtomic(StopPath(before.directory), ""));
    TEMPER_RETURN_IF_ERROR(CheckStop());
    const std::string at =
        absl::StrCat(Printable(before.directory, 1000), ": asked to stop, and ", state.HowText(),
                     absl::StrFormat("; last sign of life %.0f s ago", state.silent()));
    if (timeout > 0 && absl::Now() - began > absl::Seconds(timeout)) return absl::DeadlineExceededError(at);
    if (absl::Now() - told < kBetweenLines) continue;
    told = absl::Now();
    LogInfo(at);
  }
}

}  // namespace

absl::Status RunStop(const CommandLine& line) {
  StopOptions options;
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> rest, ParseOptions(line.arguments, options));
  if (rest.size() != 1) return absl::InvalidArgumentError("expected a run's folder: temper stop RUN_DIR");
  TEMPER_ASSIGN_OR_RETURN(const RunState state, ReadRunState(rest[0]));
  const std::string name = Printable(rest[0], 1000);
  if (state.how == RunState::kQueued) {
    TEMPER_RETURN_IF_ERROR(OutputOf({"scancel", state.job}).status());
    return WriteOut(absl::StrCat(name, ": job ", state.job, " was waiting in the queue; it is cancelled\n"));
  }
  if (state.how == RunState::kNever && !state.kept)
    return absl::NotFoundError(absl::StrCat(name, ": no run has begun there"));
  if (!state.lives()) return WriteOut(absl::StrCat(name, ": is not running: ", state.HowText(), "\n"));
  TEMPER_RETURN_IF_ERROR(WriteFileAtomic(StopPath(rest[0]), ""));
  return Wait(state, options.timeout);
}

std::string StopHelp() { return HelpOf<StopOptions>(); }

}  // namespace temper
