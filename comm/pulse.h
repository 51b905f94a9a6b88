// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace temper {

// What a rank is at, as it stood at one moment.
struct RankState {
  int64_t signs = 0;                              // grows with each sign of life
  std::string phase;                              // what it announced last
  absl::Duration silence = absl::ZeroDuration();  // that it announced with it, beside the deadline
  std::string operation, part;                    // the call that it is in, and among whom; empty: in none
  int64_t number = 0;                             // of the part's collectives, alike on all its ranks
  int64_t bytes = 0;                              // of the call's message
  int waits_for = -1;                             // the rank of all that the call waits for; -1: none
  absl::Duration waited = absl::ZeroDuration();   // in calls, all in all
};

// Where a rank notes what it is at, for its watchdog (comm/watchdog.h), which looks while the rank itself may
// be stuck. The thread that uses the rank's communicators writes, in a few stores; any thread reads. A
// reading may be of two moments that are next to each other.
class Pulse {
 public:
  // A sign of life.
  void Beat() { signs_.store(signs_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
  // As Communicator::Announce.
  void Say(std::string_view phase, absl::Duration silence);

  // A call of a communicator, from here to the end of the block. The texts are literals.
  class Call {
   public:
    // `pulse`: null where nobody watches.
    Call(Pulse* pulse, const char* operation, const char* part, int64_t number, int64_t bytes);
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    Pulse* const pulse_;
  };
  // The call waits, and has done so for `passed` since it was last said; -1: something has moved.
  void WaitFor(int rank, absl::Duration passed);
  // Something of the rank has come over the network. It is looked for while a call waits.
  void Heard(int rank);

  RankState Read() const;
  // How often each rank was heard of; ranks behind the end never were.
  std::vector<int64_t> heard() const;

 private:
  std::atomic<int64_t> signs_{0}, silence_ms_{0}, number_{0}, bytes_{0}, waited_us_{0};
  std::atomic<int> waits_for_{-1};
  std::atomic<const char*> operation_{nullptr}, part_{nullptr};
  std::string said_;  // as phase_, for the writer
  mutable absl::Mutex mutex_;
  std::string phase_ ABSL_GUARDED_BY(mutex_);
  std::vector<int64_t> heard_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace temper
