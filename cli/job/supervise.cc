// SPDX-License-Identifier: Apache-2.0
#include "cli/job/supervise.h"

#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "cli/job/child.h"
#include "cli/job/kept_child.h"
#include "cli/job/machines.h"
#include "cli/job/state.h"
#include "cli/line/options.h"
#include "comm/watchdog.h"
#include "core/files/disk.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "core/log.h"
#include "core/text.h"
#include "trainer/run_directory/journal.h"
#include "trainer/run_directory/run_directory.h"
#include "trainer/run_directory/supervision.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

constexpr char kHosts[] = "{hosts}", kOfSlurm[] = "slurm";
constexpr absl::Duration kLeftOutFor = absl::Hours(1);  // by the next supervisor
constexpr int kBeginnings = 5;
constexpr absl::Duration kBetweenChecks = absl::Milliseconds(500), kLongestPause = absl::Minutes(1);

struct SuperviseOptions {
  std::string run_dir;
  int64_t failures = 3;
  double silent_minutes = 30;
  double start_minutes = 15;
  double restart_minutes = 1;
  double stop_seconds = 25;
  double launcher_seconds = 5;
  double pause_seconds = 1;
  std::string hosts;
  int64_t nodes = 0;

  template <class V>
  void Fields(V& v) {
    v.Field("run_dir", run_dir, "The folder of the run that the command starts.", Required());
    v.Field("failures", failures,
            "Ends after so many starts in a row that left no new sample, checkpoint or stage.",
            Between(1, 1'000'000));
    v.Field(
        "silent_minutes", silent_minutes,
        "Nothing new in the run's folder for so long, not even a sign of life: the ranks are killed and "
        "started again. What ranks find of each other is sooner (deadline_minutes). One rank alone is not "
        "judged. 0: never.",
        Between(0.0, 1e6));
    v.Field("start_minutes", start_minutes,
            "A start that shows no first sign in the folder for so long is killed: a launcher that cannot "
            "reach a machine may wait for ever. As long it waits itself for a process that still has the "
            "folder, such as one that was cut off. 0: never, and without end.",
            Between(0.0, 1e6));
    v.Field("restart_minutes", restart_minutes,
            "A start after one that began is given five times as long as the longest of those took to their "
            "first sign, at least this and at most start_minutes; one after a start that did not begin has "
            "start_minutes. A machine's first start may take much longer than others: it reads the program "
            "from a slow disk.",
            Between(0.0, 1e6));
    v.Field("stop_seconds", stop_seconds,
            "How long ranks that are asked to stop may take before they are killed: less than what this "
            "program is given itself (Slurm's KillWait is 30).",
            Between(0.0, 1e6));
    v.Field(
        "launcher_seconds", launcher_seconds,
        "How long mpirun or srun may take to end once a rank has found another one lost and has ended: one "
        "that cannot reach a machine may take a quarter of an hour, and is killed. As long the first start "
        "waits "
        "for ranks of a supervisor that was killed.",
        Between(0.0, 1e6));
    v.Field("pause_seconds", pause_seconds,
            "Before the second start in a row that left nothing new; twice as long before each further one.",
            Between(0.0, 60.0));
    v.Field("hosts", hosts,
            "HOST,HOST,..: machines to start on. {hosts} in a word of the command becomes those of `nodes` "
            "that are not known as bad, in this order; HOST:SLOTS keeps its slots. slurm: those that this "
            "job has when a start begins.");
    v.Field("nodes", nodes, "How many of them; 0: all.", Between(0, 100'000));
  }
};

// Which only a rank that others watch writes, and does all the time.
std::string FirstRanksPulse(const std::string& run_directory, const std::string& start) {
  return PulsePath(StartsWatchDirectory(run_directory, start), 0);
}

// What changes as long as a start of a run lives.
std::vector<std::string> SignsOfLife(const std::string& run_directory, const std::string& start) {
  return {StatusPath(run_directory), JournalPath(run_directory), MetricsPath(run_directory),
          FirstRanksPulse(run_directory, start)};
}

size_t SignsOf(const std::vector<std::string>& paths) {
  size_t all = 0;
  for (const std::string& path : paths) {
    struct stat info;
    if (stat(path.c_str(), &info) != 0) continue;
    all += std::hash<std::string>()(absl::StrCat(path, " ", info.st_ino, " ", info.st_size, " ",
                                                 info.st_mtim.tv_sec, " ", info.st_mtim.tv_nsec));
  }
  return all;
}

// The machines that this Slurm job has now: one that went down is none of them any more.
absl::StatusOr<std::vector<std::string>> MachinesOfTheJob() {
  const char* const job = std::getenv("SLURM_JOB_ID");
  if (job == nullptr)
    return absl::FailedPreconditionError("--hosts=slurm: this is no job of Slurm's: SLURM_JOB_ID is not set");
  TEMPER_ASSIGN_OR_RETURN(const std::string list,
                          OutputOf({"squeue", "--noheader", "--format=%N", absl::StrCat("--jobs=", job)}));
  TEMPER_ASSIGN_OR_RETURN(const std::string names, OutputOf({"scontrol", "show", "hostnames",
                                                             std::string(absl::StripAsciiWhitespace(list))}));
  return absl::StrSplit(names, '\n', absl::SkipWhitespace());
}

class Supervisor {
 public:
  Supervisor(SuperviseOptions options, std::vector<std::string> command)
      : options_(std::move(options)),
        run_(options_.run_dir),
        command_(std::move(command)),
        machines_(absl::StrSplit(options_.hosts == kOfSlurm ? "" : options_.hosts, ',', absl::SkipEmpty()),
                  static_cast<size_t>(options_.nodes)),
        supervision_(run_) {}

  absl::Status Run() {
    KeepSignalsAndOrphans();
    // A job that Slurm has queued again keeps a request to it, and its former ranks may still be there.
    const bool again = std::getenv("SLURM_RESTART_COUNT") != nullptr;
    supervision_.Hold();
    if (!again && !supervision_.held() && IsSupervised(run_))
      return absl::FailedPreconditionError(absl::StrCat("another `temper supervise` stands over ", run_,
                                                        ": end it with `temper stop ", run_, "`"));
    if (!again || !HasHadTheRun()) TheDisk().RemoveFile(StopPath(run_));  // of before
    TEMPER_RETURN_IF_ERROR(FindMachines());
    RememberBad();
    const absl::Duration launcher =
        std::max(absl::Seconds(options_.launcher_seconds), absl::Milliseconds(1));  // 0 would be without end
    TEMPER_RETURN_IF_ERROR(FolderIsFree(again ? absl::Minutes(options_.start_minutes) : launcher).status());
    for (int64_t vain = 0;;) {
      if (Asked()) return absl::CancelledError("stopped on request before a start");
      const std::string before = WhatLasts(run_);
      const size_t journal_before = SignsOf({JournalPath(run_)});
      start_before_ = NewestStart();
      const absl::Time began = absl::Now();
      TEMPER_ASSIGN_OR_RETURN(const int code, OneStart());
      const int64_t took = absl::ToInt64Seconds(absl::Now() - began);
      KeptChild::KillAll();
      if (code == 0) return absl::OkStatus();
      if (Asked() || (code == kStoppedExit && SaysStopped(journal_before)))
        return absl::CancelledError(absl::StrCat("stopped on request; the command ended with ", code));
      if (code == kUserExit)
        return absl::FailedPreconditionError(
            "the command ended with 2, which another start does not mend; its own words say why");
      vain = WhatLasts(run_) == before ? vain + 1 : 0;
      if (vain >= options_.failures)
        return absl::UnavailableError(absl::StrCat("the command ended with ", code, ", and ", vain,
                                                   " starts in a row left nothing new: not started again"));
      const std::string why = NoteBad(code);
      if (!Pause(vain)) return absl::CancelledError("stopped on request between two starts");
      TEMPER_RETURN_IF_ERROR(NoteInJournal(code, why));
      if (Asked()) return absl::CancelledError("stopped on request between two starts");
      TEMPER_RETURN_IF_ERROR(FindMachines());
      LogWarning("supervise: the command ended with ", code, " after ", took, " s", why.empty() ? "" : ": ",
                 why, "; it is started again", Without());
    }
  }

 private:
  // Until it has ended: what it said last.
  absl::StatusOr<int> OneStart() {
    TEMPER_ASSIGN_OR_RETURN(KeptChild child, KeptChild::Start(Command()));
    size_t signs = SignsOf(SignsOfLife(run_, start_before_));
    const absl::Duration begins_within = BeginsWithin();
    begun_ = false;
    absl::Duration silent = absl::ZeroDuration(), found_for = absl::ZeroDuration(), unheard = found_for,
                   waited = found_for;
    absl::Time looked = absl::Now(), told_at = absl::InfiniteFuture();
    // mpirun and srun hand the signal on, and do not end the ranks themselves.
    const auto hand_on = [&] {
      LogInfo("supervise: asked to stop");
      asked_ = true;
      child.Signal(SIGUSR1);
      told_at = absl::Now();
    };
    for (;;) {
      const KeptChild::Event event = child.Wait(kBetweenChecks);
      supervision_.Hold();  // the first start makes the folder
      if (event.asked && told_at == absl::InfiniteFuture()) hand_on();
      if (event.code) {
        // A shell around the launcher ends by the signal, and what it started saves.
        while (KeptChild::AnyLeft() && absl::Now() - told_at < absl::Seconds(options_.stop_seconds) &&
               told_at != absl::InfiniteFuture())
          child.Wait(kBetweenChecks);
        return *event.code;
      }
      const absl::Time now = absl::Now();
      // Time for which this process was stopped is nobody's silence.
      const absl::Duration passed = std::clamp(now - looked, absl::ZeroDuration(), 4 * kBetweenChecks);
      looked = now;
      // Ranks that have begun look for a request in the folder themselves, and take the time that they need.
      unheard = !begun_ && Asked() ? unheard + passed : absl::ZeroDuration();
      if (std::max(unheard, now - told_at) > absl::Seconds(options_.stop_seconds))
        return Kill("they were asked to stop");
      found_for = Found() ? found_for + passed : absl::ZeroDuration();
      if (found_for > absl::Seconds(options_.launcher_seconds)) return Kill("their watchdog ended them");
      const std::string start = NewestStart();
      const size_t signs_now = SignsOf(SignsOfLife(run_, start));
      // A rank alone may be silent for as long as an update takes.
      const bool is_watched = start != start_before_ && FileExists(FirstRanksPulse(run_, start));
      silent = signs_now == signs ? silent + passed : absl::ZeroDuration();
      waited += passed;
      if (signs_now != std::exchange(signs, signs_now) && !std::exchange(begun_, true))
        longest_beginning_ = std::max(longest_beginning_, waited);
      const absl::Duration limit = !begun_      ? begins_within
                                   : is_watched ? absl::Minutes(options_.silent_minutes)
                                                : absl::ZeroDuration();
      if (limit > absl::ZeroDuration() && silent > limit)
        return Kill(begun_ ? "the run's folder has shown no sign of life" : "it has not begun");
    }
  }

  int Kill(const std::string& why) {
    LogWarning("supervise: ", why, ", and the command has not ended: it is killed");
    KeptChild::KillAll();
    return asked_ ? kStoppedExit : 128 + SIGKILL;
  }

  // 0: there is no limit. A start that is killed sooner than start_minutes might have begun: the one after it
  // has all the time.
  absl::Duration BeginsWithin() const {
    const absl::Duration most = absl::Minutes(options_.start_minutes);
    if (!begun_ || most == absl::ZeroDuration()) return most;
    return std::min(most,
                    std::max(absl::Minutes(options_.restart_minutes), kBeginnings * longest_beginning_));
  }

  // Where they are Slurm's, before each start.
  absl::Status FindMachines() {
    if (options_.hosts != kOfSlurm) return absl::OkStatus();
    absl::StatusOr<std::vector<std::string>> hosts = MachinesOfTheJob();
    if (!hosts.ok() && machines_.Chosen().empty()) return hosts.status();
    if (!hosts.ok()) {  // its controller is away: as before
      LogWarning("supervise: ", hosts.status().message());
      return absl::OkStatus();
    }
    if (static_cast<int64_t>(hosts->size()) < options_.nodes)
      return absl::UnavailableError(absl::StrCat("the job has ", hosts->size(), " machines left, of ",
                                                 options_.nodes, " that are needed: not started again"));
    SayHeldMachines(static_cast<int64_t>(hosts->size()));
    machines_.Become(*std::move(hosts));
    return absl::OkStatus();
  }

  std::vector<std::string> Command() const {
    const std::string hosts = absl::StrJoin(machines_.Chosen(), ",");
    std::vector<std::string> command;
    for (const std::string& word : command_) command.push_back(absl::StrReplaceAll(word, {{kHosts, hosts}}));
    return command;
  }

  std::string Without() const {
    const std::vector<std::string> out = machines_.LeftOut();
    return out.empty() ? "" : absl::StrCat(", without ", absl::StrJoin(out, ", "));
  }

  // Whether this job of Slurm's was launched with the run, or has begun it before: else a machine failed
  // first.
  bool HasHadTheRun() const {
    const char* const job = std::getenv("SLURM_JOB_ID");
    const auto is_it = [&](const Json& json) {
      return job == nullptr || GetString(json, "job", "", "").value_or("") == job;
    };
    const auto launched = ReadFile(LaunchedPath(run_), 1 << 20);
    if (launched.ok() && is_it(ParseJson(*launched, "").value_or(Json::object()))) return true;
    const std::vector<Json> journal = ReadJournal(run_).value_or(std::vector<Json>());
    return std::any_of(journal.begin(), journal.end(), is_it);
  }

  // Whether somebody has asked to stop, by a signal or in the folder; that lasts.
  bool Asked() { return asked_ = asked_ || FileExists(StopPath(run_)); }

  // The word of the newest start; the journal is read where it has changed.
  std::string NewestStart() {
    const size_t signs = SignsOf({JournalPath(run_)});
    if (signs == std::exchange(journal_signs_, signs)) return start_;
    const auto journal = ReadJournal(run_);
    return start_ = journal.ok() ? StartOf(*journal) : "";
  }

  // What the ranks of this start, and no other's, found.
  std::optional<WatchdogReport> Found() {
    const std::string start = NewestStart();
    if (start.empty() || start == start_before_) return std::nullopt;
    const auto found = ReadFound(StartsWatchDirectory(run_, start));
    return found.ok() && !found->text.empty() ? std::optional(*found) : std::nullopt;
  }

  // What a supervisor before this one left out when it last started ranks, if that was lately.
  void RememberBad() {
    const auto journal = ReadJournal(run_);
    if (!journal.ok()) return;
    const auto last = std::find_if(journal->rbegin(), journal->rend(), [](const Json& event) {
      return GetString(event, "event", "", "").value_or("") == "restart";
    });
    if (last == journal->rend()) return;
    const double at = GetDouble(*last, "unix_seconds", "", 0).value_or(0);
    const Json* const without = Find(*last, "without");
    if (absl::Now() - absl::FromUnixMillis(static_cast<int64_t>(at * 1e3)) > kLeftOutFor ||
        without == nullptr || !without->is_array())
      return;
    std::vector<std::string> names;
    for (auto name = without->rbegin(); name != without->rend(); ++name)
      if (name->is_string()) names.push_back(name->get<std::string>());
    machines_.Blame(names);
    if (const std::string out = Without(); !out.empty()) LogInfo("supervise: starts", out, ", as lately");
  }

  // By another name than the one that it was started by a bad machine cannot be left out.
  void WarnOfUnknown(const std::vector<std::string>& named) const {
    const std::vector<std::string> unknown = machines_.Unknown(named);
    if (options_.hosts.empty() || unknown.empty()) return;
    LogWarning("supervise: the ranks name ", Printable(absl::StrJoin(unknown, ", "), 1000),
               ", and the machines that they are started on are ", absl::StrJoin(machines_.Chosen(), ", "),
               ": it is not left out; --hosts has to name machines as `hostname` does there");
  }

  // What the last start tells of its machines; returns its ranks' words of the one that they found lost.
  std::string NoteBad(int code) {
    if (begun_) machines_.Began();
    if (const auto found = Found()) {
      WarnOfUnknown(found->hosts);
      if (found->died) {  // of a lack of memory perhaps, or of an operator
        machines_.Suspect(found->hosts);
      } else {
        machines_.Blame(found->hosts);
      }
      return found->text;
    }
    // Ranks that say why they end, as on a full disk, were reached.
    if (!begun_ && code != kStoppedExit) machines_.BlameOne();
    return "";
  }

  // Whether the last start left the word that it ended on request, by a signal of Slurm's to the ranks. A
  // launcher that ends the others of a rank that was lost sends them the same signal.
  bool SaysStopped(size_t journal_before) {
    if (SignsOf({JournalPath(run_)}) == journal_before || Found()) return false;
    const auto journal = ReadJournal(run_);
    if (!journal.ok() || journal->empty()) return false;
    const Json& last = journal->back();
    return GetString(last, "event", "", "").value_or("") == "end" &&
           GetString(last, "how", "", "").value_or("") == "stopped";
  }

  bool Pause(int64_t vain) {
    absl::Duration pause = vain == 0 ? absl::ZeroDuration() : absl::Seconds(options_.pause_seconds);
    for (int64_t i = 1; i < vain && pause < kLongestPause; ++i) pause *= 2;
    return Sleep(std::min(pause, kLongestPause));
  }
  bool Sleep(absl::Duration time) {
    KeptChild nobody = KeptChild::Nobody();
    for (const absl::Time until = absl::Now() + time; absl::Now() < until && !Asked();)
      asked_ |= nobody.Wait(std::min(until - absl::Now(), kBetweenChecks)).asked;
    return !Asked();
  }

  // Whoever is cut off ends by itself (comm/watchdog.h), which gives the folder free; from then on it is not
  // its any more (RunLock::Check). Waits for that, where `most` is zero without end. Null: there is no folder
  // yet, it cannot be locked, as on a full disk, or this process is asked to stop.
  absl::StatusOr<std::unique_ptr<RunLock>> FolderIsFree(absl::Duration most) {
    bool told = false;
    for (const absl::Time began = absl::Now(); FileExists(run_) && !Asked(); Sleep(kBetweenChecks)) {
      absl::StatusOr<std::unique_ptr<RunLock>> lock = RunLock::Acquire(run_);
      if (lock.ok()) return lock;
      if (!absl::StrContains(lock.status().message(), "another process works")) break;
      if (most > absl::ZeroDuration() && absl::Now() - began > most)
        return absl::UnavailableError(lock.status().message());
      if (!std::exchange(told, true)) LogWarning("supervise: waits: ", lock.status().message());
    }
    return nullptr;
  }

  absl::Status NoteInJournal(int code, const std::string& why) {
    TEMPER_ASSIGN_OR_RETURN(const std::unique_ptr<RunLock> lock,
                            FolderIsFree(absl::Minutes(options_.start_minutes)));
    if (lock == nullptr) return absl::OkStatus();
    const absl::Status noted =
        NoteRestart(run_, {{"code", code}, {"why", why}, {"without", machines_.LeftOut()}});
    if (!noted.ok()) LogWarning("supervise: ", noted.message());
    return absl::OkStatus();
  }

  const SuperviseOptions options_;
  const std::string run_;
  const std::vector<std::string> command_;
  Machines machines_;
  Supervision supervision_;
  std::string start_before_, start_;  // the journal's newest before this start, and now
  size_t journal_signs_ = 0;
  bool begun_ = false;                                       // the last start has shown a sign
  absl::Duration longest_beginning_ = absl::ZeroDuration();  // until a start showed one
  bool asked_ = false;
};

}  // namespace

absl::Status RunSupervise(const CommandLine& line) {
  SuperviseOptions options;
  TEMPER_ASSIGN_OR_RETURN(std::vector<std::string> command, ParseOptions(line.arguments, options));
  if (command.empty())
    return absl::InvalidArgumentError(
        "expected a command: temper supervise --run-dir DIR -- mpirun -n 4 temper run RECIPE --run-dir DIR");
  std::error_code error;
  options.run_dir = fs::absolute(options.run_dir, error).lexically_normal();
  return Supervisor(std::move(options), std::move(command)).Run();
}

std::string SuperviseHelp() { return HelpOf<SuperviseOptions>(); }

}  // namespace temper
