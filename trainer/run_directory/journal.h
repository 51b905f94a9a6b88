// SPDX-License-Identifier: Apache-2.0
// What a run tells those who look at its folder from outside (`temper status`), and hears from them (`temper
// stop`).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "core/progress.h"

namespace temper {

// Lines of journal.jsonl, each with its `event` and `unix_seconds`:
//   start     start (its own word), ranks, hosts (how many of them where), device, pid, temper; job where
//   Slurm
//             started it; devices, where that job has machines to spare: all that it holds
//   stage     stage; of one that trains also step, after which it goes on
//   saved     stage, step: a checkpoint stands; holds: the time, in unix seconds, of what it holds
//   finished  stage
//   restart   of `temper supervise`, between two starts: code, with which the ranks ended, and seconds until
//             the next ones begin; without: hosts that it leaves out
//   slow      rank, host, what: the others waited for it (comm/watchdog.h)
//   end       how (finished, stopped, failed, or lost: it only fell silent), why; rank and hosts where its
//             ranks found one that was lost
// status.json is rewritten every few seconds and says what goes on. For the first rank, which holds the run's
// lock; one thread, but for Add after Begin.
class Journal {
 public:
  // Of a new start: forgets a request to stop, which is of an earlier one unless the run is supervised
  // (supervision.h). Nothing is written before Begin, but for signs of life after some seconds.
  explicit Journal(std::string run_directory, bool new_start = true);

  // A start begins. Where the one before has no end, its last sign of life before this object was made
  // becomes that, or what its ranks found out.
  absl::Status Begin(const Json& start);
  // Durable when it returns.
  absl::Status Add(const std::string& event, Json fields);
  // `asked`: whether the run was asked to stop. Without that Cancelled is no stop: another rank's error made
  // it so. One that has not begun leaves a word only where it was stopped.
  void End(const absl::Status& status, bool asked);

  // May be called often: at most every 5 s it is written. A file that cannot be is no error: it ends nothing.
  void SignOfLife(const Progress::State& at);
  // Whether somebody asked, by the file `stop`; looks at most twice a second.
  bool AskedToStop();

 private:
  friend absl::Status NoteRestart(const std::string& run_directory, const Json& fields);
  absl::Status Open();
  void WriteStatus(const Progress::State& at);
  const std::string run_directory_;
  const double last_sign_;  // in status.json, of the start before; 0: none
  absl::Mutex mutex_;
  std::unique_ptr<AppendFile> file_ ABSL_GUARDED_BY(mutex_);  // null: not begun
  absl::Time told_, looked_;
  Progress::State last_;
};

// Between two starts, by whoever has the run's lock: where the one before has no end it gets it, then comes
// `restart`.
absl::Status NoteRestart(const std::string& run_directory, const Json& fields);

// All whole lines; none where there is no journal. Errors: a line that is no event.
absl::StatusOr<std::vector<Json>> ReadJournal(const std::string& run_directory);

// The word of the newest start; empty: there is none.
std::string StartOf(const std::vector<Json>& journal);

// What a stage's ranks were held for, in hours of a rank, up to the last event: from its beginning, the time
// until a start went on with it included, and before that the time in which `temper supervise` kept the
// machines. Lost of it is what faults and restarts took: until it went on, and after the checkpoint from
// which it did. A stage that trains nothing keeps its samples, and loses the first alone.
struct StageHours {
  double held = 0, lost = 0;
};
StageHours HoursOf(const std::vector<Json>& journal, const std::string& stage);

}  // namespace temper
