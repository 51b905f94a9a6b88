// SPDX-License-Identifier: Apache-2.0
#include "rewards/process/process.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/notification.h"
#include "core/check.h"
#include "core/config/redact.h"
#include "core/text.h"

namespace temper {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kFirstPause = 0.1, kMostPause = 30, kMostWait = 1, kMostListen = 5;

Clock::duration DurationOf(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

double Seconds(Clock::duration span) { return std::chrono::duration<double>(span).count(); }

// A program that fails may repeat its arguments, and the keys among them.
std::string MessageOf(const absl::Status& status, const std::vector<std::string>& command) {
  return Redact(std::string(status.message()), SecretsOf(command));
}

}  // namespace

ProcessRule::ProcessRule(const ProcessOptions& options)
    : options_(options),
      slots_(static_cast<size_t>(options.processes)),
      pauses_(static_cast<size_t>(options.processes)) {}

ProcessRule::~ProcessRule() {
  std::vector<std::thread> threads;
  {
    absl::MutexLock lock(&mutex_);
    TEMPER_CHECK(queue_.empty(), "rule process ends before it has answered");
    ending_ = true;
    changed_.SignalAll();
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

absl::Status ProcessRule::CheckReady() const {
  const auto error = [this](const absl::Status& status) {
    return absl::InvalidArgumentError(absl::StrCat("rule process: ", MessageOf(status, options_.command)));
  };
  absl::StatusOr<std::unique_ptr<LineProcess>> first = LineProcess::Start(options_.command);
  if (!first.ok()) return error(first.status());
  if (const absl::Status status = (*first)->Listen(kMostListen); !status.ok()) return error(status);
  absl::MutexLock lock(&mutex_);
  TEMPER_CHECK(threads_.empty(), "rule process is asked already");
  slots_[0].process = *std::move(first);
  return absl::OkStatus();
}

Verdict ProcessRule::Judge(const Completion& completion) const {
  Verdict verdict;
  absl::Notification answered;
  Ask({completion}, [&](std::vector<Answer> answers) {
    verdict = std::move(answers[0].verdict);
    answered.Notify();
  });
  answered.WaitForNotification();
  return verdict;
}

void ProcessRule::Ask(const std::vector<Completion>& rows, Done done) const {
  TEMPER_CHECK(!rows.empty());
  const Clock::time_point now = Clock::now();
  const auto request = std::make_shared<Request>(
      Request{.answers = std::vector<Answer>(rows.size()), .left = rows.size(), .done = std::move(done)});
  absl::MutexLock lock(&mutex_);
  if (!judges_groups()) {
    for (size_t i = 0; i < rows.size(); ++i) queue_.push_back({.rows = {{rows[i], request, i, now}}});
  } else {
    Unit& unit = queue_.emplace_back();
    for (size_t i = 0; i < rows.size(); ++i) unit.rows.push_back({rows[i], request, i, now});
  }
  for (size_t i = threads_.size(); i < slots_.size(); ++i) threads_.emplace_back([this, i] { Serve(i); });
  changed_.SignalAll();
}

void ProcessRule::Drop() const {
  std::deque<Unit> waiting;
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
    waiting.swap(queue_);
  }
  for (Unit& unit : waiting) {
    for (const Row& row : unit.rows)
      Deliver(row, {MakeVerdict(VerdictKind::kInfrastructureError, 0, "stopped on request")});
  }
  absl::MutexLock lock(&mutex_);
  const auto quiet = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return busy_ == 0; };
  mutex_.Await(absl::Condition(&quiet));
  stop_ = false;
}

ProcessRule::Figures ProcessRule::TakeFigures() const {
  absl::MutexLock lock(&mutex_);
  return std::exchange(figures_, {.at_once_peak = rows_at_once_});
}

bool ProcessRule::AllPauseLong(Clock::time_point now) const {
  return std::ranges::all_of(pauses_,
                             [&](Clock::time_point until) { return Seconds(until - now) > kMostWait; });
}

// Of a batch its fair share of what is ready goes along, so that one process does not take what others could.
// What is tried again goes alone: it may be what broke a batch.
ProcessRule::Unit ProcessRule::TakeReady(size_t at, Clock::time_point now) const {
  Unit unit = std::move(queue_[at]);
  queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(at));
  if (options_.rows != RowsForm::kBatch || unit.tries > 0) return unit;
  const auto fresh = [&](const Unit& other) { return other.tries == 0; };
  const int64_t ready = 1 + std::ranges::count_if(queue_, fresh);
  const int64_t share = std::min(options_.batch_rows, (ready + idle_) / (idle_ + 1));
  for (auto next = queue_.begin(); next != queue_.end() && static_cast<int64_t>(unit.rows.size()) < share;) {
    if (fresh(*next)) {
      unit.rows.push_back(std::move(next->rows[0]));
      next = queue_.erase(next);
    } else {
      ++next;
    }
  }
  return unit;
}

// The slot's next task, when there is one; nothing at the end.
std::optional<ProcessRule::Task> ProcessRule::Next(size_t slot) const {
  absl::MutexLock lock(&mutex_);
  for (;;) {
    if (ending_) return std::nullopt;
    const Clock::time_point now = Clock::now();
    const auto ready = std::ranges::find_if(queue_, [&](const Unit& unit) { return unit.not_before <= now; });
    const bool refused = AllPauseLong(now);
    if (ready != queue_.end() && (refused || pauses_[slot] <= now)) {
      Task task{TakeReady(static_cast<size_t>(ready - queue_.begin()), now), refused};
      ++busy_;
      rows_at_once_ += static_cast<int64_t>(task.unit.rows.size());
      if (!refused) figures_.at_once_peak = std::max(figures_.at_once_peak, rows_at_once_);
      return task;
    }
    // Later something becomes ready, or this process's pause ends.
    Clock::duration wait = std::chrono::hours(1);
    for (const Unit& unit : queue_) wait = std::min(wait, std::max(unit.not_before, pauses_[slot]) - now);
    ++idle_;
    changed_.WaitWithTimeout(&mutex_, absl::FromChrono(std::max<Clock::duration>(wait, DurationOf(0.001))));
    --idle_;
  }
}

void ProcessRule::Serve(size_t at) const {
  Slot& slot = slots_[at];
  while (std::optional<Task> task = Next(at)) {
    const size_t rows = task->unit.rows.size();
    const Clock::time_point begun = Clock::now();
    absl::StatusOr<std::vector<Verdict>> verdicts;
    if (task->refused) {
      verdicts = absl::UnavailableError(
          absl::StrFormat("%s; it failed %d times in a row and is started again in up to %.0f s", slot.error,
                          slot.failures, kMostPause));
    } else {
      verdicts = Exchange(slot, task->unit);
      if (!verdicts.ok()) NoteFailure(at, verdicts.status());
    }
    if (!verdicts.ok()) {
      verdicts = std::vector<Verdict>(rows, MakeVerdict(VerdictKind::kInfrastructureError, 0,
                                                        MessageOf(verdicts.status(), options_.command)));
    }
    Settle(std::move(task->unit), *std::move(verdicts), begun, !task->refused);
    absl::MutexLock lock(&mutex_);
    --busy_;
    rows_at_once_ -= static_cast<int64_t>(rows);
  }
  slot.process.reset();
}

absl::StatusOr<std::vector<Verdict>> ProcessRule::Exchange(Slot& slot, const Unit& unit) const {
  if (slot.process == nullptr) {
    TEMPER_ASSIGN_OR_RETURN(slot.process, LineProcess::Start(options_.command));
  }
  std::vector<Completion> rows;
  for (const Row& row : unit.rows) rows.push_back(row.completion);
  int64_t first_id = 0;
  {
    absl::MutexLock lock(&mutex_);
    first_id = last_id_ + 1;
    last_id_ += static_cast<int64_t>(rows.size());
    figures_.restarts += slot.replaces ? 1 : 0;
  }
  slot.replaces = false;
  const double most =
      options_.row_seconds * static_cast<double>(rows.size()) + (slot.fresh ? options_.start_seconds : 0);
  TEMPER_ASSIGN_OR_RETURN(
      const std::vector<std::string> lines,
      slot.process->Ask(RequestLine(rows, first_id, options_.rows), rows.size(), most, stop_));
  absl::StatusOr<std::vector<Verdict>> verdicts = ReadAnswers(lines, first_id);
  if (!verdicts.ok()) {
    return absl::UnavailableError(
        absl::StrCat(Printable(options_.command[0]), ": ", verdicts.status().message()));
  }
  slot.failures = 0;
  slot.fresh = false;
  return verdicts;
}

void ProcessRule::NoteFailure(size_t at, const absl::Status& status) const {
  Slot& slot = slots_[at];
  slot.process.reset();
  slot.fresh = true;
  slot.replaces = true;
  slot.error = MessageOf(status, options_.command);
  if (++slot.failures < 2) return;
  const double pause = std::min(kMostPause, kFirstPause * std::pow(2, std::min(slot.failures - 2, 20)));
  absl::MutexLock lock(&mutex_);
  pauses_[at] = Clock::now() + DurationOf(pause);
}

// Answers the rows, or puts back those without a verdict, where `again` and the retries allow it.
void ProcessRule::Settle(Unit unit, std::vector<Verdict> verdicts, Clock::time_point begun,
                         bool again) const {
  const auto failed = [](const Verdict& verdict) {
    return verdict.kind == VerdictKind::kInfrastructureError;
  };
  const bool any = std::ranges::any_of(verdicts, failed);
  const Clock::time_point now = Clock::now();
  const double pause = options_.retry_seconds * std::pow(2, static_cast<double>(unit.tries));
  std::vector<size_t> answered;
  {
    absl::MutexLock lock(&mutex_);
    again &= any && unit.tries < options_.retries && !stop_;
    for (size_t i = 0; i < unit.rows.size(); ++i) {
      if (!again || (!failed(verdicts[i]) && !judges_groups())) {
        answered.push_back(i);
      } else if (!judges_groups()) {
        queue_.push_back({{unit.rows[i]}, unit.tries + 1, now + DurationOf(pause)});
      }
    }
    figures_.retries += static_cast<int64_t>(unit.rows.size() - answered.size());
    if (again && judges_groups()) queue_.push_back({unit.rows, unit.tries + 1, now + DurationOf(pause)});
    if (again) changed_.SignalAll();
  }
  for (const size_t i : answered) {
    const Row& row = unit.rows[i];
    Deliver(row, {std::move(verdicts[i]), Seconds(begun - row.asked), Seconds(now - begun)});
  }
}

void ProcessRule::Deliver(const Row& row, Answer answer) const {
  Request& request = *row.request;
  {
    absl::MutexLock lock(&mutex_);
    request.answers[row.index] = std::move(answer);
    if (--request.left > 0) return;
  }
  request.done(std::move(request.answers));
}

absl::StatusOr<std::unique_ptr<Reward>> MakeProcess(const ProcessOptions& config) {
  if (config.command.empty() || config.command[0].empty())
    return absl::InvalidArgumentError("rule process: set command, a list of the program and its arguments");
  for (const std::string& word : config.command) {
    if (word.find(kRedacted) != word.npos)
      return absl::InvalidArgumentError(absl::StrCat(
          "rule process: command: ", Printable(word, 100),
          ": a key was left out where this recipe was written: put it back, or give it by the environment"));
  }
  return std::make_unique<ProcessRule>(config);
}

}  // namespace temper
