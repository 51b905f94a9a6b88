// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/config/config.h"
#include "rewards/process/line_process.h"
#include "rewards/process/rows.h"
#include "rewards/rule.h"

namespace temper {

struct ProcessOptions {
  std::vector<std::string> command{};
  RowsForm rows = RowsForm::kOne;
  int64_t batch_rows = 64;
  int64_t processes = 1;
  double row_seconds = 10;
  double start_seconds = 30;
  int64_t retries = 1;
  double retry_seconds = 0.5;

  template <class V>
  void Fields(V& v) {
    v.Field("command", command, "The program and its arguments: JSON lines in, JSON lines out.");
    v.Choice(
        "rows", rows, {{"one", RowsForm::kOne}, {"batch", RowsForm::kBatch}, {"group", RowsForm::kGroup}},
        "What it gets at once: one row; a batch, as many as wait, up to batch_rows; or a whole group, all "
        "completions of a prompt, to compare them.");
    v.Field("batch_rows", batch_rows, "rows: batch: the most rows of a batch.", Between(1, 65536));
    v.Field("processes", processes,
            "How many of it run, on each rank: so many rows, batches or groups are judged at once, whatever "
            "`threads` is.",
            Between(1, 1024), Free());
    v.Field("row_seconds", row_seconds,
            "What one row may take (a batch or group: so much for each of its rows); then the process is "
            "killed.",
            Between(0.01, 3600.0));
    v.Field("start_seconds", start_seconds, "What a new process may take more, for its first row.",
            Between(0.0, 3600.0));
    v.Field("retries", retries,
            "How often a row that could not be judged is tried again, before it is an infrastructure_error.",
            Between(0, 100));
    v.Field("retry_seconds", retry_seconds,
            "How long such a row waits before it is tried again; twice as long each further time.",
            Between(0.0, 3600.0));
  }
};

// Rule `process`: a user's own program, which reads rows and writes verdicts (rewards/process/rows.h has the
// protocol). `processes` of it run, started by the rule as rows come; whatever they start dies with them, and
// all with this process (rewards/process/keeper.h). No thread of the caller's stands still for them.
//
// Never a 0 for a broken program: one that ends, writes what is no answer, an answer before its row, a score
// that is no number in [0, 1], more than 1 MiB, or nothing for row_seconds is killed, and what it had is
// tried again as `retries` says; so is a row of which it says infrastructure_error. Then the verdict is
// infrastructure_error with what happened and the last line of its standard error. A new one is started for
// the next row; from the second failure in a row on after a pause that doubles from 0.1 s to 30 s. While all
// processes are to pause for more than a second, rows are refused at once.
//
// Safe for any number of threads. Verdicts are of the rows alone as far as the program is.
class ProcessRule : public Reward {
 public:
  struct Answer {
    Verdict verdict;
    double wait_seconds = 0;   // from Ask until a process got the row for the last time
    double judge_seconds = 0;  // from then on
  };
  using Done = std::function<void(std::vector<Answer>)>;

  explicit ProcessRule(const ProcessOptions& options);
  ~ProcessRule() override;  // ends the processes; nothing may be asked or unanswered

  const std::string& name() const override { return name_; }
  const ProcessRule* process() const override { return this; }
  bool judges_groups() const { return options_.rows == RowsForm::kGroup; }

  // Starts a process and waits until it reads its input, at most 5 s: one that loads longer is trusted.
  // Nothing may have been asked.
  absl::Status CheckReady() const override;

  Verdict Judge(const Completion& completion) const override;

  // Never blocks; calls `done` once, on another thread, with an answer for each row, in their order. `done`
  // must not throw. What the rows point to must live until then. Of judges_groups() the rows are a whole
  // group.
  void Ask(const std::vector<Completion>& rows, Done done) const ABSL_LOCKS_EXCLUDED(mutex_);

  // Until nothing waits or is being judged: all that was asked is answered infrastructure_error, at once what
  // waits, within 2 s what a process has.
  void Drop() const override ABSL_LOCKS_EXCLUDED(mutex_);

  // Since the last call.
  struct Figures {
    int64_t at_once_peak = 0;  // rows that processes had at one time
    int64_t restarts = 0;      // processes started in place of one that failed
    int64_t retries = 0;       // rows tried again
  };
  Figures TakeFigures() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Clock = std::chrono::steady_clock;
  struct Request {
    std::vector<Answer> answers;
    size_t left;
    Done done;
  };
  struct Row {
    Completion completion;
    std::shared_ptr<Request> request;
    size_t index;
    Clock::time_point asked;
  };
  // What is given to a process as a whole.
  struct Unit {
    std::vector<Row> rows;
    int64_t tries = 0;
    Clock::time_point not_before{};
  };
  // One process, or the place of one that is to start; of its thread.
  struct Slot {
    std::unique_ptr<LineProcess> process;
    bool fresh = true;
    bool replaces = false;
    int failures = 0;  // in a row
    std::string error;
  };
  struct Task {
    Unit unit;
    bool refused = false;
  };

  void Serve(size_t slot) const ABSL_LOCKS_EXCLUDED(mutex_);
  std::optional<Task> Next(size_t slot) const ABSL_LOCKS_EXCLUDED(mutex_);
  Unit TakeReady(size_t at, Clock::time_point now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool AllPauseLong(Clock::time_point now) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::vector<Verdict>> Exchange(Slot& slot, const Unit& unit) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  void NoteFailure(size_t slot, const absl::Status& status) const ABSL_LOCKS_EXCLUDED(mutex_);
  void Settle(Unit unit, std::vector<Verdict> verdicts, Clock::time_point begun, bool again) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  void Deliver(const Row& row, Answer answer) const ABSL_LOCKS_EXCLUDED(mutex_);

  const std::string name_ = "process";
  const ProcessOptions options_;
  mutable std::vector<Slot> slots_;
  mutable std::atomic<bool> stop_ = false;  // what is being judged is to be given up
  mutable absl::Mutex mutex_;
  mutable absl::CondVar changed_;
  mutable std::deque<Unit> queue_ ABSL_GUARDED_BY(mutex_);
  mutable std::vector<Clock::time_point> pauses_ ABSL_GUARDED_BY(mutex_);  // by slot: until when
  mutable int64_t idle_ ABSL_GUARDED_BY(mutex_) = 0;                       // threads that wait
  mutable int64_t rows_at_once_ ABSL_GUARDED_BY(mutex_) = 0;
  mutable int64_t busy_ ABSL_GUARDED_BY(mutex_) = 0;
  mutable int64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  mutable bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  mutable Figures figures_ ABSL_GUARDED_BY(mutex_);
  mutable std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);  // one a slot, from the first Ask on
};

// Errors: no command.
absl::StatusOr<std::unique_ptr<Reward>> MakeProcess(const ProcessOptions& config);

}  // namespace temper
