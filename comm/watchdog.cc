// SPDX-License-Identifier: Apache-2.0
#include "comm/watchdog.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "core/files/disk.h"
#include "core/files/file.h"
#include "core/host.h"
#include "core/log.h"
#include "core/status.h"
#include "core/text.h"

namespace temper {
namespace {

constexpr int kExit = 75;  // the same command goes on
constexpr absl::Duration kGivingUp = absl::Seconds(2);
constexpr size_t kSteps = 32;
constexpr size_t kSightingBytes = 768;
constexpr mode_t kMode = 0600;
constexpr double kSlow = 0.5;  // of a minute that the others waited for one
// Of the deadline; a rank that waits is heard of after a quarter of one, or 30 s (communicator.cc).
constexpr double kUnheard = 0.6;
constexpr absl::Duration kShortest = absl::Minutes(1), kLongest = absl::Minutes(10);
constexpr absl::Duration kAfterTheFirst = absl::Seconds(5);  // others than rank 1 judge the first rank later
constexpr absl::Duration kBetweenSeen = absl::Seconds(5);

std::string FoundPath(const std::string& folder) { return folder + "/found.json"; }
std::string SeenPath(const std::string& folder) { return folder + "/seen.json"; }

absl::Duration BetweenLooks(absl::Duration deadline) {
  return std::clamp(deadline / 16, absl::Milliseconds(50), absl::Seconds(2));
}

// In place: one size, unless there is very much to say, so that a file is whole whenever it is read; of signs
// of life none has to last.
bool Overwrite(const std::string& path, std::string text, bool make) {
  text.resize(std::max(text.size(), kSightingBytes - 1), ' ');
  text += '\n';
  constexpr int kFlags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  const int file = TheDisk().Open(path, kFlags | O_WRONLY | (make ? O_CREAT : 0), kMode);
  if (file < 0) return false;
  const ssize_t size = static_cast<ssize_t>(text.size());
  const bool written = TheDisk().WriteAt(file, text, 0) == size && TheDisk().Cut(file, size) == 0;
  return close(file) == 0 && written;
}

double Now() { return static_cast<double>(absl::ToUnixMillis(absl::Now())) / 1e3; }

}  // namespace

Watchdog::Watchdog(const Pulse* pulse, Options options)
    : pulse_(*pulse),
      options_(std::move(options)),
      lookout_(options_.rank, options_.size),
      heard_(static_cast<size_t>(options_.size)),
      silent_(static_cast<size_t>(options_.size)),
      holds_(static_cast<size_t>(options_.size), false),
      let_go_(static_cast<size_t>(options_.size), false),
      warned_(static_cast<size_t>(options_.size), false),
      last_step_(absl::InfinitePast()) {
  mine_.start = options_.start;
  mine_.rank = options_.rank;
  mine_.host = ThisHost();
  mine_.pid = getpid();
  lookout_.See(mine_);
  for (int r = 0; r < options_.size; ++r)
    if (options_.rank == 0 || r == 0) lookout_.Expect(r);
  // Signals are the main thread's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { Watch(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Watchdog::~Watchdog() {
  {
    absl::MutexLock lock(&mutex_);
    over_ = true;
    changed_.SignalAll();
  }
  thread_.join();
  mine_.over = true;
  Say();
}

void Watchdog::Step() {
  absl::MutexLock lock(&mutex_);
  const absl::Time now = absl::Now();
  if (last_step_ != absl::InfinitePast()) {
    if (steps_.size() == kSteps) steps_.erase(steps_.begin());
    steps_.push_back(absl::ToDoubleSeconds(now - last_step_));
  }
  last_step_ = now;
}

void Watchdog::BetweenSteps() {
  absl::MutexLock lock(&mutex_);
  last_step_ = absl::InfinitePast();
  steps_.clear();
}

absl::Duration Watchdog::deadline() const {
  if (options_.deadline_seconds > 0) return absl::Seconds(options_.deadline_seconds);
  absl::MutexLock lock(&mutex_);
  if (steps_.empty()) return kLongest;
  std::vector<double> sorted = steps_;
  std::sort(sorted.begin(), sorted.end());
  return std::clamp(absl::Seconds(5 * sorted[sorted.size() / 2]), kShortest, kLongest);
}

std::vector<Watchdog::Slow> Watchdog::TakeSlow() {
  absl::MutexLock lock(&mutex_);
  return std::exchange(slow_, {});
}

std::string PulsePath(const std::string& folder, int rank) {
  return absl::StrFormat("%s/rank-%04d", folder, rank);
}

// Time for which this process was stopped is no time in which it watched.
void Watchdog::Watch() {
  absl::Time looked = absl::Now(), wrote = looked;
  while (!ended_) {
    const absl::Duration between = BetweenLooks(deadline());
    {
      absl::MutexLock lock(&mutex_);
      if (!over_) changed_.WaitWithTimeout(&mutex_, between);
      if (over_) return;
    }
    const absl::Time now = absl::Now();
    const absl::Duration passed = std::clamp(now - looked, absl::ZeroDuration(), 2 * between);
    looked = now;
    lookout_.Pass(passed);
    Publish(passed);
    LookAround();
    if (options_.rank == 0) {
      Warn();
      if (now - wrote > kBetweenSeen) {
        WriteSeen();
        wrote = now;
      }
    }
    if (OthersHaveFound()) return;  // and have ended themselves, without a word
    const absl::Duration late = options_.rank > 1 ? kAfterTheFirst : absl::ZeroDuration();
    if (const auto finding = lookout_.Judge(deadline() + late)) return Found(*finding);
  }
}

void Watchdog::Publish(absl::Duration passed) {
  ++mine_.beats;
  const int64_t signs = mine_.state.signs;
  mine_.state = pulse_.Read();
  const bool stands_still = mine_.state.waits_for >= 0 && mine_.state.signs == signs;
  mine_.unheard.clear();
  std::vector<int64_t> heard = pulse_.heard();
  heard.resize(heard_.size());
  for (size_t r = 0; r < heard.size(); ++r) {
    silent_[r] = stands_still && heard[r] == heard_[r] ? silent_[r] + passed : absl::ZeroDuration();
    if (silent_[r] > kUnheard * deadline() && static_cast<int>(r) != options_.rank)
      mine_.unheard.push_back(static_cast<int>(r));
  }
  heard_ = std::move(heard);
  if (Say()) lookout_.See(mine_);
}

// Into the file that it made once, and no other: the folder of a start is removed at its end. Who looks at a
// file has it locked for a moment, so the lock may be had only later.
bool Watchdog::Say() {
  const std::string path = PulsePath(options_.folder, options_.rank);
  if (held_ == nullptr) {
    held_ = HeldFile::Take(path, kMode, /*make=*/!made_);
    made_ = made_ || held_ != nullptr || FileExists(path);
  }
  return Overwrite(path, SightingText(mine_), /*make=*/false);
}

void Watchdog::LookAround() {
  for (int r = 0; r < (options_.rank == 0 ? options_.size : 1); ++r)
    if (r != options_.rank) LookAt(r);
}

// One look that sees no lock may be a file server's fault, a second one in a row that sees no sign of life
// either is not.
void Watchdog::LookAt(int rank) {
  const auto r = static_cast<size_t>(rank);
  const int64_t beats = lookout_.of(rank).beats;
  const std::optional<Sighting> seen = SightingOf(rank);
  if (seen) lookout_.See(*seen);
  const bool lives = seen && seen->beats != beats;
  const bool had_let_go = let_go_[r];
  let_go_[r] = false;
  if (options_.rank > 1 || (lives && holds_[r])) return;
  const LockState lock = LockOf(PulsePath(options_.folder, rank));
  if (lock == LockState::kLocked) holds_[r] = true;
  if (lock != LockState::kFree || !holds_[r]) return;
  let_go_[r] = true;
  const std::optional<Sighting> last = SightingOf(rank);
  if (had_let_go && last && !last->over) lookout_.LetGo(rank);
}

// One that cannot be read, or is half-written, is seen the next time.
std::optional<Sighting> Watchdog::SightingOf(int rank) const {
  const auto text = ReadFile(PulsePath(options_.folder, rank), 1 << 16);
  if (!text.ok()) return std::nullopt;
  const auto seen = ParseSighting(*text, "");
  if (!seen.ok() || seen->start != options_.start || seen->rank != rank) return std::nullopt;
  return *seen;
}

bool Watchdog::OthersHaveFound() {
  const auto report = ReadFound(options_.folder);
  if (!report.ok() || report->start != options_.start) return false;
  ended_ = true;
  const std::string line = absl::StrCat("ends, since ", report->text);
  End(line);
  return true;
}

// Once a standstill is half way to its deadline, and of each rank that the others wait for most of a minute.
void Watchdog::Warn() {
  const absl::Duration limit = deadline();
  if (const auto finding = lookout_.Judge(limit / 2); finding && !finding->died) {
    const int64_t signs = lookout_.of(finding->rank).state.signs;
    if (std::exchange(warned_at_, signs) != signs)
      LogWarning(finding->text, "; the run ends when it lasts for ", absl::FormatDuration(limit));
  }
  const Lookout::Straggler slowest = lookout_.Slowest();
  if (slowest.share < kSlow || warned_[static_cast<size_t>(slowest.rank)]) return;
  warned_[static_cast<size_t>(slowest.rank)] = true;
  const Sighting& seen = lookout_.of(slowest.rank);
  const std::string text =
      absl::StrFormat("the others waited for rank %d (%s) for %.0f%% of the last minute: %s", slowest.rank,
                      Printable(seen.host, 100), 100 * slowest.share, Printable(seen.state.phase, 100));
  LogWarning(text);
  absl::MutexLock lock(&mutex_);
  slow_.push_back({slowest.rank, seen.host, text});
}

void Watchdog::WriteSeen() {
  Json lines = Json::array();
  const Lookout::Straggler slowest = lookout_.Slowest();
  if (slowest.share >= 0.1)
    lines.push_back(absl::StrFormat("the others waited for rank %d (%s) for %.0f%% of the last minute",
                                    slowest.rank, Printable(lookout_.of(slowest.rank).host, 100),
                                    100 * slowest.share));
  for (const std::string& line : lookout_.Ranks()) lines.push_back(line);
  Overwrite(SeenPath(options_.folder), DumpJson({{"start", options_.start}, {"lines", lines}}), true);
}

void Watchdog::Found(const Finding& finding) {
  ended_ = true;
  const Json json = {{"start", options_.start}, {"unix_seconds", Now()}, {"rank", finding.rank},
                     {"hosts", finding.hosts},  {"text", finding.text},  {"found_by", options_.rank},
                     {"died", finding.died}};
  WriteFileAtomic(FoundPath(options_.folder), DumpJson(json) + "\n").IgnoreError();
  End(finding.text);
}

// Whoever started the ranks ends the others: mpirun in 2 s, srun with --kill-on-bad-exit.
void Watchdog::End(const std::string& line) const {
  if (!options_.end) LogError(line, "; the same command goes on from the last checkpoint");
  if (options_.give_up) {
    // A driver may hang in it: the process ends all the same.
    const auto given_up = std::make_shared<absl::Notification>();
    std::thread([give_up = options_.give_up, given_up] {
      give_up();
      given_up->Notify();
    }).detach();
    given_up->WaitForNotificationWithTimeout(kGivingUp);
  }
  if (!options_.end) _exit(kExit);
  options_.end(line);
}

absl::StatusOr<WatchdogReport> ReadFound(const std::string& folder) {
  WatchdogReport report;
  const std::string path = FoundPath(folder);
  if (!FileExists(path)) return report;
  TEMPER_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 1 << 20));
  TEMPER_ASSIGN_OR_RETURN(const Json json, ParseJson(text, path));
  TEMPER_ASSIGN_OR_RETURN(report.start, GetString(json, "start", path));
  TEMPER_ASSIGN_OR_RETURN(report.text, GetString(json, "text", path));
  TEMPER_ASSIGN_OR_RETURN(const int64_t rank, GetInt(json, "rank", path));
  TEMPER_ASSIGN_OR_RETURN(report.unix_seconds, GetDouble(json, "unix_seconds", path));
  TEMPER_ASSIGN_OR_RETURN(report.died, GetBool(json, "died", path, false));
  report.rank = static_cast<int>(rank);
  const Json* const hosts = Find(json, "hosts");
  if (hosts == nullptr || !hosts->is_array()) return absl::DataLossError(path + ": has no hosts");
  for (const Json& host : *hosts)
    if (host.is_string()) report.hosts.push_back(host.get<std::string>());
  return report;
}

std::vector<std::string> ReadSeen(const std::string& folder) {
  std::vector<std::string> lines;
  const auto text = ReadFile(SeenPath(folder), 1 << 20);
  const auto json = text.ok() ? ParseJson(*text, "") : text.status();
  const Json* const all = json.ok() ? Find(*json, "lines") : nullptr;
  if (all == nullptr || !all->is_array()) return lines;
  for (const Json& line : *all)
    if (line.is_string()) lines.push_back(Printable(line.get<std::string>(), 400));
  return lines;
}

}  // namespace temper
