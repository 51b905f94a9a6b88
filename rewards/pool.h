// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "core/queue.h"
#include "rewards/reward.h"

namespace temper {

// Threads that judge trajectories while others are still decoded. A rule's first, tenth, hundredth ..
// infrastructure error is a warning with its reason. Verdicts are a function of the trajectory alone and
// stand in the order of the config's rules, whatever the threads. Submit, Wait and Metrics may be called from
// any thread.
class RewardPool {
 public:
  // `queue` trajectories may wait. Errors: MakeRules'.
  static absl::StatusOr<std::unique_ptr<RewardPool>> Create(const RewardConfig& config, int threads,
                                                            int queue = 256);
  ~RewardPool();  // judges what was submitted first
  RewardPool(const RewardPool&) = delete;
  RewardPool& operator=(const RewardPool&) = delete;

  // Fills trajectory->verdicts, then calls `done` (if any) on one of the pool's threads; `done` must not
  // throw and must not call Submit or Wait. Blocks while the queue is full. Both pointers are the caller's
  // and must live until then.
  void Submit(Trajectory* trajectory, const Prompt* prompt, std::function<void(Trajectory*)> done = nullptr)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Until everything submitted has its verdicts and its `done` has returned. False where `stop`, which is
  // asked ten times a second, said so before and two seconds did not do: then what still waits is dropped,
  // its `done` never called, and only what is being judged is waited for.
  bool Wait(absl::FunctionRef<bool()> stop = [] { return false; }) ABSL_LOCKS_EXCLUDED(mutex_);

  // The first prompt whose reference answer some rule cannot read.
  absl::Status CheckAnswers(absl::Span<const Prompt> prompts) const;

  // The same verdicts on the caller's thread.
  std::vector<Verdict> Judge(const Completion& completion) const;

  // Figures since the last call, as metric names: verdict/RULE/KIND (counts), reward/RULE/score (mean over
  // verdicts that are no infrastructure error), and clock-based ones: time/reward/RULE/p50, p99 (seconds, to
  // a factor of 1.2), system/reward/open_peak (trajectories that waited or were judged at once). Rules in the
  // config's order.
  std::vector<std::pair<std::string, double>> TakeMetrics() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Job {
    Trajectory* trajectory;
    const Prompt* prompt;
    std::function<void(Trajectory*)> done;
  };
  static constexpr int kKinds = 7;
  static constexpr int kBins = 128;
  struct Counts {
    std::array<int64_t, kKinds> kinds{};
    double score_sum = 0;
    std::array<int64_t, kBins> seconds{};
  };
  void Count(const std::vector<Verdict>& verdicts, const std::vector<double>& seconds)
      ABSL_LOCKS_EXCLUDED(mutex_);

  RewardPool(std::vector<std::unique_ptr<Reward>> rules, int threads, int queue);
  void Work() ABSL_LOCKS_EXCLUDED(mutex_);

  const std::vector<std::unique_ptr<Reward>> rules_;
  Queue<Job> queue_;
  absl::Mutex mutex_;
  int64_t open_ ABSL_GUARDED_BY(mutex_) = 0;  // submitted or being so, not finished
  int64_t open_peak_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Counts> counts_ ABSL_GUARDED_BY(mutex_);   // by rule
  std::vector<int64_t> errors_ ABSL_GUARDED_BY(mutex_);  // by rule, infrastructure errors since the start
  std::vector<std::thread> threads_;
};

}  // namespace temper
