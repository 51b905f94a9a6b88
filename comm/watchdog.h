// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "comm/lookout.h"
#include "comm/pulse.h"
#include "core/files/held_file.h"

namespace temper {

// A thread of each rank that says in a file of a folder that all ranks see what its rank is at, and looks at
// the others': the first rank at all, the others at the first. Where one is lost, stands still or is cut off
// (comm/lookout.h) for longer than the deadline, its name, machine and what it was at go to standard error
// and into the folder's `found.json`, and the process ends; so does that of each rank that reads there of its
// own start. One whose process dies is named some five seconds later, where files' locks tell that: each rank
// holds its file (core/files/held_file.h). The main thread may be stuck in any call meanwhile: it only ever
// writes to the pulse.
class Watchdog {
 public:
  struct Options {
    std::string folder;  // there already, and of no other start: who is cut off and comes back finds it gone
    std::string start;   // of these ranks, and of no other start
    int rank = 0, size = 1;
    double deadline_seconds = 0;  // 0: by the steps
    // Before the end: gives up what this rank's device waits for. On a thread of its own, which is left alone
    // if it takes longer than 2 s.
    std::function<void()> give_up = {};
    // For tests; else it writes the line to standard error and ends the process with 75.
    std::function<void(const std::string& line)> end = {};
  };
  // `pulse` outlives it.
  Watchdog(const Pulse* pulse, Options options);
  ~Watchdog();  // nobody watches this rank any more: not before all have come to their end, or by an error

  // A step of training is over: the deadline is five times the median of the last ones, at least a minute and
  // at most ten, and ten before there is one, unless it was given.
  void Step();
  // What follows is not a step's time.
  void BetweenSteps();
  absl::Duration deadline() const;

  // Whether it has found something, and so ends the process. An error that comes up from then on may be of
  // what was given up for that.
  bool ended() const { return ended_; }

  // What was noticed of slow ranks since the last call, a line each, for the journal.
  struct Slow {
    int rank = 0;
    std::string host, text;
  };
  std::vector<Slow> TakeSlow();

 private:
  void Watch();
  void Publish(absl::Duration passed);
  bool Say();
  void LookAround();
  void LookAt(int rank);
  std::optional<Sighting> SightingOf(int rank) const;
  bool OthersHaveFound();
  void Warn();
  void WriteSeen();
  void End(const std::string& line) const;
  void Found(const Finding& finding);

  const Pulse& pulse_;
  const Options options_;
  Lookout lookout_;
  Sighting mine_;
  std::unique_ptr<HeldFile> held_;      // where that says mine_; null where locks do not work
  bool made_ = false;                   // that file, once
  std::vector<int64_t> heard_;          // by rank: how often, when it was heard of last
  std::vector<absl::Duration> silent_;  // by rank: for how long it was not, while this one stands still
  std::vector<bool> holds_;             // by rank: whether it was seen to hold its file
  std::vector<bool> let_go_;            // by rank: whether the last look saw that it does no longer
  std::atomic<bool> ended_ = false;     // of the thread, which found something
  std::vector<bool> warned_;            // of slowness, by rank
  int64_t warned_at_ = -1;              // signs of the rank that was warned of
  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Slow> slow_ ABSL_GUARDED_BY(mutex_);
  std::vector<double> steps_ ABSL_GUARDED_BY(mutex_);  // seconds, the newest last
  absl::Time last_step_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

// Where a rank says what it is at: the file of the first one changes as long as its process runs.
std::string PulsePath(const std::string& folder, int rank);

// What `temper status` and the next start read of the folder.
struct WatchdogReport {
  std::string start, text;  // of found.json; empty: nothing was found
  std::vector<std::string> hosts;
  int rank = -1;
  double unix_seconds = 0;
  bool died = false;  // Finding::died
};
absl::StatusOr<WatchdogReport> ReadFound(const std::string& folder);
// How the first rank saw the ranks lately, a line each: those that stand still longest. Empty: nobody
// watches.
std::vector<std::string> ReadSeen(const std::string& folder);

}  // namespace temper
