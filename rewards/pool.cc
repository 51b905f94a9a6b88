// SPDX-License-Identifier: Apache-2.0
#include "rewards/pool.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/log.h"
#include "core/text.h"

namespace temper {
namespace {

bool IsPowerOfTen(int64_t n) {
  while (n > 1 && n % 10 == 0) n /= 10;
  return n == 1;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RewardPool>> RewardPool::Create(const RewardConfig& config, int threads) {
  TEMPER_CHECK(threads > 0);
  TEMPER_ASSIGN_OR_RETURN(std::vector<std::unique_ptr<Reward>> rules, MakeRules(config));
  std::unique_ptr<RewardPool> pool(new RewardPool(std::move(rules)));
  for (int i = 0; i < threads; ++i) pool->threads_.emplace_back([p = pool.get()] { p->Work(); });
  return pool;
}

RewardPool::RewardPool(std::vector<std::unique_ptr<Reward>> rules)
    : counts_(rules.size()), errors_(rules.size()), rules_(std::move(rules)) {
  for (const auto& rule : rules_) {
    names_.push_back(rule->name());
    judges_groups_ |= rule->process() != nullptr && rule->process()->judges_groups();
    has_native_ |= rule->process() == nullptr;
  }
}

RewardPool::~RewardPool() {
  Wait();
  {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

void RewardPool::Submit(std::vector<Completion> completions, Done done) {
  TEMPER_CHECK(!completions.empty());
  const size_t count = completions.size();
  const auto job = std::make_shared<Job>(Job{.completions = std::move(completions),
                                             .done = std::move(done),
                                             .verdicts = Verdicts(count, std::vector<Verdict>(rules_.size())),
                                             .left = has_native_ ? static_cast<int64_t>(count) : 0});
  for (const auto& rule : rules_) job->left += rule->process() != nullptr ? 1 : 0;
  {
    absl::MutexLock lock(&mutex_);
    open_ += static_cast<int64_t>(count);
    open_peak_ = std::max(open_peak_, open_);
    for (size_t i = 0; has_native_ && i < count; ++i) queue_.push_back({job, i});
  }
  for (size_t rule = 0; rule < rules_.size(); ++rule) {
    if (rules_[rule]->process() == nullptr) continue;
    rules_[rule]->process()->Ask(job->completions,
                                 [this, job, rule](std::vector<ProcessRule::Answer> answers) {
                                   Answered(job, rule, std::move(answers));
                                 });
  }
}

bool RewardPool::Wait(absl::FunctionRef<bool()> stop) {
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return open_ == 0; };
  absl::MutexLock lock(&mutex_);
  while (!mutex_.AwaitWithTimeout(absl::Condition(&idle), absl::Milliseconds(100))) {
    if (!stop()) continue;
    if (mutex_.AwaitWithTimeout(absl::Condition(&idle), absl::Seconds(2))) return true;
    mutex_.Unlock();
    Drop();
    mutex_.Lock();
    return false;
  }
  return true;
}

void RewardPool::Drop() {
  std::deque<Part> waiting;
  {
    absl::MutexLock lock(&mutex_);
    dropping_ = true;
    waiting.swap(queue_);
  }
  for (const Part& part : waiting) FinishPart(*part.job);
  for (const auto& rule : rules_) rule->Drop();
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return open_ == 0; };
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&idle));
  dropping_ = false;
}

absl::Status RewardPool::CheckAnswers(absl::Span<const Prompt> prompts) const {
  for (const Prompt& prompt : prompts) {
    for (const auto& rule : rules_) TEMPER_RETURN_IF_ERROR(rule->CheckAnswer(prompt));
  }
  return absl::OkStatus();
}

void RewardPool::Count(size_t rule, const Verdict& verdict, double seconds, double wait) {
  std::string warning;
  {
    absl::MutexLock lock(&mutex_);
    if (dropping_) return;
    Counts& counts = counts_[rule];
    ++counts.kinds.at(static_cast<size_t>(verdict.kind));
    counts.seconds.Add(seconds);
    counts.waits.Add(wait);
    if (verdict.kind != VerdictKind::kInfrastructureError) {
      counts.score_sum += verdict.score;
    } else if (IsPowerOfTen(++errors_[rule])) {
      warning = absl::StrCat("rule ", verdict.rule, ": infrastructure error ", errors_[rule],
                             ", no reward: ", Printable(verdict.reason, 400));
    }
  }
  if (!warning.empty()) LogWarning(warning);
}

bool RewardPool::Dropping() {
  absl::MutexLock lock(&mutex_);
  return dropping_;
}

void RewardPool::Work() {
  const auto wanted = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ending_ || !queue_.empty(); };
  for (;;) {
    Part part;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&wanted));
      if (queue_.empty()) return;
      part = std::move(queue_.front());
      queue_.pop_front();
    }
    for (size_t i = 0; i < rules_.size(); ++i) {
      if (rules_[i]->process() != nullptr || Dropping()) continue;
      const auto begin = std::chrono::steady_clock::now();
      Verdict& verdict = part.job->verdicts[part.completion][i];
      verdict = JudgeSafely(*rules_[i], part.job->completions[part.completion]);
      Count(i, verdict, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), 0);
    }
    FinishPart(*part.job);
  }
}

void RewardPool::Answered(const std::shared_ptr<Job>& job, size_t rule,
                          std::vector<ProcessRule::Answer> answers) {
  for (size_t i = 0; i < answers.size(); ++i) {
    Verdict& verdict = job->verdicts[i][rule];
    verdict = std::move(answers[i].verdict);
    verdict.rule = names_[rule];
    Count(rule, verdict, answers[i].judge_seconds, answers[i].wait_seconds);
  }
  FinishPart(*job);
}

void RewardPool::FinishPart(Job& job) {
  bool dropped = false;
  {
    absl::MutexLock lock(&mutex_);
    if (--job.left > 0) return;
    dropped = dropping_;
  }
  if (!dropped && job.done) job.done(std::move(job.verdicts));
  absl::MutexLock lock(&mutex_);
  open_ -= static_cast<int64_t>(job.completions.size());
}

std::vector<std::pair<std::string, double>> RewardPool::TakeMetrics() {
  std::vector<Counts> counts(rules_.size());
  int64_t peak = 0;
  {
    absl::MutexLock lock(&mutex_);
    counts.swap(counts_);
    peak = std::exchange(open_peak_, open_);
  }
  std::vector<std::pair<std::string, double>> metrics;
  for (size_t i = 0; i < rules_.size(); ++i) {
    const std::string& rule = rules_[i]->name();
    int64_t scored = 0;
    for (int kind = 1; kind < kKinds; ++kind) {
      const int64_t count = counts[i].kinds[kind];
      if (static_cast<VerdictKind>(kind) != VerdictKind::kInfrastructureError) scored += count;
      metrics.emplace_back(absl::StrCat("verdict/", rule, "/", Name(static_cast<VerdictKind>(kind))),
                           static_cast<double>(count));
    }
    if (scored > 0) {
      metrics.emplace_back(absl::StrCat("reward/", rule, "/score"),
                           counts[i].score_sum / static_cast<double>(scored));
    }
    metrics.emplace_back(absl::StrCat("time/reward/", rule, "/p50"), counts[i].seconds.Quantile(0.5));
    metrics.emplace_back(absl::StrCat("time/reward/", rule, "/p99"), counts[i].seconds.Quantile(0.99));
    const ProcessRule* const process = rules_[i]->process();
    if (process == nullptr) continue;
    const ProcessRule::Figures figures = process->TakeFigures();
    metrics.emplace_back(absl::StrCat("time/reward/", rule, "/wait_p50"), counts[i].waits.Quantile(0.5));
    metrics.emplace_back(absl::StrCat("time/reward/", rule, "/wait_p99"), counts[i].waits.Quantile(0.99));
    const std::string system = absl::StrCat("system/reward/", rule);
    metrics.emplace_back(system + "/at_once_peak", static_cast<double>(figures.at_once_peak));
    metrics.emplace_back(system + "/restarts", static_cast<double>(figures.restarts));
    metrics.emplace_back(system + "/retries", static_cast<double>(figures.retries));
  }
  metrics.emplace_back("system/reward/open_peak", static_cast<double>(peak));
  return metrics;
}

}  // namespace temper
