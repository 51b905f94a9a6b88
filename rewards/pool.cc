// SPDX-License-Identifier: Apache-2.0
#include "rewards/pool.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/log.h"
#include "core/text.h"

namespace temper {
namespace {

// Bins of seconds: 1 us times 1.2^bin.
constexpr double kFirst = 1e-6, kGrowth = 1.2;

int BinOf(double seconds, int bins) {
  if (seconds <= kFirst) return 0;
  return std::min(bins - 1, static_cast<int>(std::log(seconds / kFirst) / std::log(kGrowth)));
}

bool IsPowerOfTen(int64_t n) {
  while (n > 1 && n % 10 == 0) n /= 10;
  return n == 1;
}

template <class Bins>
double Quantile(const Bins& bins, double share) {
  int64_t total = 0, seen = 0;
  for (const int64_t count : bins) total += count;
  for (size_t i = 0; i < bins.size(); ++i) {
    seen += bins[i];
    if (total > 0 && static_cast<double>(seen) >= share * static_cast<double>(total)) {
      return kFirst * std::pow(kGrowth, static_cast<double>(i + 1));
    }
  }
  return 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RewardPool>> RewardPool::Create(const RewardConfig& config, int threads,
                                                               int queue) {
  TEMPER_CHECK(threads > 0 && queue > 0);
  TEMPER_ASSIGN_OR_RETURN(std::vector<std::unique_ptr<Reward>> rules, MakeRules(config));
  return std::unique_ptr<RewardPool>(new RewardPool(std::move(rules), threads, queue));
}

RewardPool::RewardPool(std::vector<std::unique_ptr<Reward>> rules, int threads, int queue)
    : rules_(std::move(rules)), queue_("rewards", queue), counts_(rules_.size()), errors_(rules_.size()) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

RewardPool::~RewardPool() {
  queue_.Close();
  for (std::thread& thread : threads_) thread.join();
}

void RewardPool::Submit(Trajectory* trajectory, const Prompt* prompt, std::function<void(Trajectory*)> done) {
  {
    absl::MutexLock lock(&mutex_);
    open_peak_ = std::max(open_peak_, ++open_);
  }
  TEMPER_CHECK(queue_.Push({trajectory, prompt, std::move(done)}), "submitted to a reward pool that ends");
}

bool RewardPool::Wait(absl::FunctionRef<bool()> stop) {
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return open_ == 0; };
  absl::MutexLock lock(&mutex_);
  while (!mutex_.AwaitWithTimeout(absl::Condition(&idle), absl::Milliseconds(100))) {
    if (!stop()) continue;
    if (mutex_.AwaitWithTimeout(absl::Condition(&idle), absl::Seconds(2))) return true;
    open_ -= static_cast<int64_t>(queue_.Clear());
    mutex_.Await(absl::Condition(&idle));
    return false;
  }
  return true;
}

absl::Status RewardPool::CheckAnswers(absl::Span<const Prompt> prompts) const {
  for (const Prompt& prompt : prompts) {
    for (const auto& rule : rules_) TEMPER_RETURN_IF_ERROR(rule->CheckAnswer(prompt));
  }
  return absl::OkStatus();
}

std::vector<Verdict> RewardPool::Judge(const Completion& completion) const {
  std::vector<Verdict> verdicts;
  for (const auto& rule : rules_) verdicts.push_back(JudgeSafely(*rule, completion));
  return verdicts;
}

void RewardPool::Count(const std::vector<Verdict>& verdicts, const std::vector<double>& seconds) {
  std::vector<std::string> warnings;
  {
    absl::MutexLock lock(&mutex_);
    for (size_t i = 0; i < rules_.size(); ++i) {
      ++counts_[i].kinds.at(static_cast<size_t>(verdicts[i].kind));
      ++counts_[i].seconds[BinOf(seconds[i], kBins)];
      if (verdicts[i].kind != VerdictKind::kInfrastructureError) {
        counts_[i].score_sum += verdicts[i].score;
      } else if (IsPowerOfTen(++errors_[i])) {
        warnings.push_back(absl::StrCat("rule ", verdicts[i].rule, ": infrastructure error ", errors_[i],
                                        ", no reward: ", Printable(verdicts[i].reason, 400)));
      }
    }
  }
  for (const std::string& warning : warnings) LogWarning(warning);
}

void RewardPool::Work() {
  std::vector<double> seconds(rules_.size());
  while (std::optional<Job> next = queue_.Pop()) {
    Job& job = *next;
    Trajectory& trajectory = *job.trajectory;
    const Completion completion{.prompt = job.prompt,
                                .text = trajectory.text,
                                .stop = trajectory.stop,
                                .tokens = static_cast<int64_t>(trajectory.tokens.size())};
    std::vector<Verdict> verdicts;
    for (size_t i = 0; i < rules_.size(); ++i) {
      const auto begin = std::chrono::steady_clock::now();
      verdicts.push_back(JudgeSafely(*rules_[i], completion));
      seconds[i] = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }
    Count(verdicts, seconds);
    trajectory.verdicts = std::move(verdicts);
    if (job.done) job.done(&trajectory);
    absl::MutexLock lock(&mutex_);
    --open_;
  }
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
    metrics.emplace_back(absl::StrCat("time/reward/", rule, "/p50"), Quantile(counts[i].seconds, 0.5));
    metrics.emplace_back(absl::StrCat("time/reward/", rule, "/p99"), Quantile(counts[i].seconds, 0.99));
  }
  metrics.emplace_back("system/reward/open_peak", static_cast<double>(peak));
  return metrics;
}

}  // namespace temper
