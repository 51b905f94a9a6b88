// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <deque>
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
#include "rewards/durations.h"
#include "rewards/rules.h"

namespace temper {

// Judges completions while others are still decoded: rules on threads of its own, and rules that wait for
// programs (rule `process`) without one. A rule's first, tenth, hundredth .. infrastructure error is a
// warning with its reason. Verdicts are a function of the completion alone (of the group where a rule judges
// groups) and stand in the order of the config's rules, whatever the threads. All may be called from any
// thread.
class RewardPool {
 public:
  // By completion, then by rule.
  using Verdicts = std::vector<std::vector<Verdict>>;
  using Done = std::function<void(Verdicts)>;

  // Errors: MakeRules'.
  static absl::StatusOr<std::unique_ptr<RewardPool>> Create(const RewardConfig& config, int threads);
  ~RewardPool();  // judges what was submitted first
  RewardPool(const RewardPool&) = delete;
  RewardPool& operator=(const RewardPool&) = delete;

  const std::vector<std::string>& rule_names() const { return names_; }

  // Whether some rule judges all completions of a prompt together: then each Submit has a whole group.
  bool judges_groups() const { return judges_groups_; }

  // Whether each rule can judge now (Reward::CheckReady).
  absl::Status CheckReady() const { return CheckRulesReady(rules_); }

  // Has the completions of one prompt judged, then calls `done` once, on a thread of the pool's or a rule's;
  // `done` must not throw and must not call Submit or Wait. Never blocks. What completions point to is the
  // caller's and must live until then.
  void Submit(std::vector<Completion> completions, Done done) ABSL_LOCKS_EXCLUDED(mutex_);

  // Until everything submitted is judged and its `done` has returned. False where `stop`, which is asked ten
  // times a second, said so before and two seconds did not do: then what still waits is dropped, programs are
  // killed, the `done` of both is never called, and what native rules are at work on is waited for.
  bool Wait(absl::FunctionRef<bool()> stop = [] { return false; }) ABSL_LOCKS_EXCLUDED(mutex_);

  // Whether a rule can judge by a prompt's reference answer (Reward::CheckAnswer).
  absl::Status CheckAnswer(size_t rule, const Prompt& prompt) const {
    return rules_[rule]->CheckAnswer(prompt);
  }
  // The first prompt by whose answer some rule cannot.
  absl::Status CheckAnswers(absl::Span<const Prompt> prompts) const;

  // Figures since the last call, as metric names, by completion: verdict/RULE/KIND (counts),
  // reward/RULE/score (mean over verdicts that are no infrastructure error), and clock-based ones:
  // time/reward/RULE/p50, p99 (seconds of judging, to a factor of 1.2), system/reward/open_peak (completions
  // that waited or were judged at once); of a rule that waits for programs also time/reward/RULE/wait_p50,
  // wait_p99 (seconds until one took the row) and system/reward/RULE/at_once_peak (rows that programs had at
  // one time), restarts, retries. Rules in the config's order.
  std::vector<std::pair<std::string, double>> TakeMetrics() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Job {
    std::vector<Completion> completions;
    Done done;
    Verdicts verdicts;
    int64_t left;  // parts: a rule that waits is one, the native rules of a completion are one
  };
  struct Part {
    std::shared_ptr<Job> job;
    size_t completion;
  };
  static constexpr int kKinds = 7;
  struct Counts {
    std::array<int64_t, kKinds> kinds{};
    double score_sum = 0;
    Durations seconds, waits;
  };

  explicit RewardPool(std::vector<std::unique_ptr<Reward>> rules);
  void Work() ABSL_LOCKS_EXCLUDED(mutex_);
  void Answered(const std::shared_ptr<Job>& job, size_t rule, std::vector<ProcessRule::Answer> answers)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void FinishPart(Job& job) ABSL_LOCKS_EXCLUDED(mutex_);
  void Count(size_t rule, const Verdict& verdict, double seconds, double wait) ABSL_LOCKS_EXCLUDED(mutex_);
  void Drop() ABSL_LOCKS_EXCLUDED(mutex_);
  bool Dropping() ABSL_LOCKS_EXCLUDED(mutex_);

  std::vector<std::string> names_;
  bool judges_groups_ = false;
  bool has_native_ = false;
  absl::Mutex mutex_;
  std::deque<Part> queue_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  bool dropping_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t open_ ABSL_GUARDED_BY(mutex_) = 0;  // completions submitted and not finished
  int64_t open_peak_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Counts> counts_ ABSL_GUARDED_BY(mutex_);   // by rule
  std::vector<int64_t> errors_ ABSL_GUARDED_BY(mutex_);  // by rule, infrastructure errors since the start
  std::vector<std::thread> threads_;
  const std::vector<std::unique_ptr<Reward>> rules_;  // last: its threads call this
};

}  // namespace temper
