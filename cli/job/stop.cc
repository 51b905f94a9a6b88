// SPDX-License-Identifier: Apache-2.0
#include "cli/job/stop.h"

#include <optional>
#include <string>
#include <vector>

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
#include "trainer/run_directory/journal.h"
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

// How it ended, in the run's words; one that ended by itself is an error.
absl::Status Told(const std::string& directory, const std::string& how, const std::string& why) {
  const std::string name = Printable(directory, 1000);
  if (how == "failed" || how == "lost")
    return absl::UnavailableError(absl::StrCat(name, ": ended by itself before it stopped: ", how, " ", why,
                                               "; the same command goes on from the last checkpoint"));
  return WriteOut(absl::StrCat(name, ": ", how, why.empty() ? "" : ": ", why, "\n"));
}

// The first end of a start behind the journal's first `events`. A start that only fell silent has one that a
// later start wrote.
std::optional<Json> EndBehind(size_t events, const std::vector<Json>& journal) {
  for (size_t i = events; i < journal.size(); ++i)
    if (GetString(journal[i], "event", "", "").value_or("") == "end" &&
        GetString(journal[i], "how", "", "").value_or("lost") != "lost")
      return journal[i];
  return std::nullopt;
}

// Until nobody has the folder, or the start that was there has ended and somebody has begun another one.
absl::Status Wait(const std::string& directory, size_t events, double timeout) {
  const absl::Time began = absl::Now();
  absl::Time told = began;
  for (;;) {
    absl::SleepFor(kBetweenLooks);
    TEMPER_ASSIGN_OR_RETURN(const RunState state, ReadRunState(directory));
    if (!state.lives()) return Told(directory, state.HowText(), state.why);
    // Only a start takes a request away, for one of before: itself about to begin, or begun since by
    // somebody.
    if (!FileExists(StopPath(directory))) {
      TEMPER_ASSIGN_OR_RETURN(const std::vector<Json> journal, ReadJournal(directory));
      if (const std::optional<Json> end = EndBehind(events, journal))
        return Told(directory, GetString(*end, "how", "", "").value_or(""),
                    GetString(*end, "why", "", "").value_or(""));
      TEMPER_RETURN_IF_ERROR(WriteFileAtomic(StopPath(directory), ""));
    }
    TEMPER_RETURN_IF_ERROR(CheckStop());
    const std::string at = absl::StrCat(Printable(directory, 1000), ": asked to stop, and ", state.HowText(),
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
  TEMPER_ASSIGN_OR_RETURN(const std::vector<Json> journal, ReadJournal(rest[0]));
  TEMPER_RETURN_IF_ERROR(WriteFileAtomic(StopPath(rest[0]), ""));
  return Wait(rest[0], journal.size(), options.timeout);
}

std::string StopHelp() { return HelpOf<StopOptions>(); }

}  // namespace temper
