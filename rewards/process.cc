// SPDX-License-Identifier: Apache-2.0
#include "rewards/process.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "core/json.h"
#include "core/text.h"
#include "rewards/line_process.h"

namespace temper {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kFirstPause = 0.1, kMostPause = 30, kMostWait = 1;

std::string RowLine(int64_t id, const Completion& completion) {
  const Prompt& prompt = *completion.prompt;
  std::string line = DumpJson(Json{{"id", id},
                                   {"completion", std::string(completion.text)},
                                   {"stop", Name(completion.stop)},
                                   {"tokens", completion.tokens},
                                   {"prompt", prompt.text},
                                   {"answer", prompt.answer},
                                   {"task", prompt.task}});
  line.pop_back();
  std::string row = prompt.fields.empty() ? "{}" : prompt.fields;
  std::replace_if(
      row.begin(), row.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return absl::StrCat(line, ",\"row\":", row, "}");
}

absl::StatusOr<VerdictKind> KindByName(const std::string& name) {
  for (int kind = 1; kind <= static_cast<int>(VerdictKind::kInfrastructureError); ++kind) {
    if (name == Name(static_cast<VerdictKind>(kind))) return static_cast<VerdictKind>(kind);
  }
  return absl::InvalidArgumentError(absl::StrCat("there is no verdict ", Printable(name, 40)));
}

// An answer as a verdict. Errors: anything that process.h does not say.
absl::StatusOr<Verdict> ReadVerdict(const std::string& line, int64_t id) {
  TEMPER_ASSIGN_OR_RETURN(const Json json, ParseJson(line, "its answer"));
  if (!json.is_object()) return absl::InvalidArgumentError("its answer is no object");
  TEMPER_ASSIGN_OR_RETURN(const int64_t answered, GetInt(json, "id", "its answer"));
  if (answered != id)
    return absl::InvalidArgumentError(absl::StrCat("it answered row ", answered, " and not ", id));
  const bool has_verdict = Find(json, "verdict") != nullptr, has_score = Find(json, "score") != nullptr;
  if (!has_verdict && !has_score)
    return absl::InvalidArgumentError("its answer has neither score nor verdict");
  Verdict verdict;
  if (has_score) {
    TEMPER_ASSIGN_OR_RETURN(verdict.score, GetDouble(json, "score", "its answer"));
    if (!(verdict.score >= 0 && verdict.score <= 1))
      return absl::InvalidArgumentError(absl::StrCat("its score ", verdict.score, " is not in [0, 1]"));
    verdict.kind = verdict.score == 1 ? VerdictKind::kCorrect : VerdictKind::kWrong;
  }
  if (has_verdict) {
    TEMPER_ASSIGN_OR_RETURN(const std::string name, GetString(json, "verdict", "its answer"));
    TEMPER_ASSIGN_OR_RETURN(verdict.kind, KindByName(name));
    if (!has_score) verdict.score = verdict.kind == VerdictKind::kCorrect ? 1 : 0;
  }
  TEMPER_ASSIGN_OR_RETURN(verdict.reason, GetString(json, "reason", "its answer", ""));
  TEMPER_ASSIGN_OR_RETURN(verdict.extracted, GetString(json, "extracted", "its answer", ""));
  return verdict;
}

class Process : public Reward {
 public:
  Process(const RuleConfig& config, std::unique_ptr<LineProcess> first) : config_(config) {
    slots_.resize(static_cast<size_t>(config.processes));
    slots_[0].process = std::move(first);
    for (Slot& slot : slots_) free_.push_back(&slot);
  }
  const std::string& name() const override { return name_; }

  Verdict Judge(const Completion& completion) const override {
    const Borrowed slot(this);
    const auto verdict = JudgeIn(*slot, completion);
    if (verdict.ok()) return *verdict;
    return MakeVerdict(VerdictKind::kInfrastructureError, 0, std::string(verdict.status().message()));
  }

 private:
  // One process, or the place of one that is to start; of one thread at a time.
  struct Slot {
    std::unique_ptr<LineProcess> process;
    bool fresh = true;
    int failures = 0;  // in a row
    Clock::time_point not_before{};
    std::string error;
  };

  class Borrowed {
   public:
    explicit Borrowed(const Process* rule) : rule_(rule) {
      absl::MutexLock lock(&rule_->mutex_);
      rule_->mutex_.Await(absl::Condition(rule_, &Process::HasFree));
      // One that need not wait, where there is one.
      const auto first =
          std::min_element(rule_->free_.begin(), rule_->free_.end(),
                           [](const Slot* a, const Slot* b) { return a->not_before < b->not_before; });
      slot_ = *first;
      rule_->free_.erase(first);
    }
    ~Borrowed() {
      absl::MutexLock lock(&rule_->mutex_);
      rule_->free_.push_back(slot_);
    }
    Slot& operator*() const { return *slot_; }

   private:
    const Process* rule_;
    Slot* slot_ = nullptr;
  };
  bool HasFree() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return !free_.empty(); }

  absl::StatusOr<Verdict> JudgeIn(Slot& slot, const Completion& completion) const {
    const double wait = std::chrono::duration<double>(slot.not_before - Clock::now()).count();
    if (wait > kMostWait) {
      return absl::UnavailableError(absl::StrFormat(
          "%s; it failed %d times in a row and is started again in %.0f s", slot.error, slot.failures, wait));
    }
    if (wait > 0) std::this_thread::sleep_for(std::chrono::duration<double>(wait));
    auto verdict = Exchange(slot, completion);
    if (verdict.ok()) {
      slot.failures = 0;
      slot.fresh = false;
      return verdict;
    }
    slot.process.reset();
    slot.fresh = true;
    slot.error = std::string(verdict.status().message());
    if (++slot.failures > 1) {
      const double pause = std::min(kMostPause, kFirstPause * std::pow(2, std::min(slot.failures - 2, 20)));
      slot.not_before =
          Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(pause));
    }
    return verdict;
  }

  absl::StatusOr<Verdict> Exchange(Slot& slot, const Completion& completion) const {
    if (slot.process == nullptr) {
      TEMPER_ASSIGN_OR_RETURN(slot.process, LineProcess::Start(config_.command));
    }
    int64_t id = 0;
    {
      absl::MutexLock lock(&mutex_);
      id = ++last_id_;
    }
    const double most = config_.row_seconds + (slot.fresh ? config_.start_seconds : 0);
    TEMPER_ASSIGN_OR_RETURN(const std::string line, slot.process->Ask(RowLine(id, completion), most));
    const auto verdict = ReadVerdict(line, id);
    if (verdict.ok()) return verdict;
    return absl::UnavailableError(absl::StrCat(Printable(config_.command[0]), ": ",
                                               verdict.status().message(), ": ", Printable(line, 100)));
  }

  const std::string name_ = "process";
  const RuleConfig config_;
  mutable std::vector<Slot> slots_;  // each of the thread that borrowed it
  mutable absl::Mutex mutex_;
  mutable std::vector<Slot*> free_ ABSL_GUARDED_BY(mutex_);
  mutable int64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Reward>> MakeProcess(const RuleConfig& config) {
  if (config.command.empty() || config.command[0].empty())
    return absl::InvalidArgumentError("rule process: set command, a list of the program and its arguments");
  const auto error = [](const absl::Status& status) {
    return absl::InvalidArgumentError(absl::StrCat("rule process: ", status.message()));
  };
  auto first = LineProcess::Start(config.command);
  if (!first.ok()) return error(first.status());
  if (const absl::Status status = (*first)->StillThere(std::chrono::milliseconds(100)); !status.ok())
    return error(status);
  return std::make_unique<Process>(config, *std::move(first));
}

}  // namespace temper
