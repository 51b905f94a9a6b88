// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "data/record_file.h"
#include "data/trajectory.h"
#include "rewards/pool.h"
#include "rollout/group_source.h"

namespace temper {

// This rank's record file; pool threads write to it. The first error stays.
class Records {
 public:
  Records(const RolloutRequest& request, int rank) : request_(request), rank_(rank) {}

  absl::Status Open();
  void Write(const Prompt* prompt, const Trajectory& trajectory);
  absl::Status status() const;
  absl::Status Sync();

 private:
  const RolloutRequest& request_;
  const int rank_;
  mutable absl::Mutex mutex_;
  std::unique_ptr<RecordWriter> writer_ ABSL_GUARDED_BY(mutex_);
  std::set<const Prompt*> written_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

// Gives finished samples to the pool, holds them while they are judged, and keeps them in the records: each
// by itself, or where a rule judges groups all of a prompt together. A sample whose verdicts hold an
// infrastructure error is judged once more by Finish; if that fails too it is kept as it is.
class Scoring {
 public:
  Scoring(RewardPool* pool, Records* records) : pool_(pool), records_(records) {}
  ~Scoring() { pool_->Wait(); }  // it holds pointers

  // One of `count` samples of the prompt.
  void Submit(const Prompt* prompt, Trajectory trajectory, size_t count);

  // Until all are judged and written, or until `stop` says so: then those that wait for a rule are given up.
  absl::Status Finish(absl::FunctionRef<bool()> stop);

  std::deque<Trajectory>& samples() { return samples_; }

 private:
  struct Unit {
    const Prompt* prompt;
    std::vector<Trajectory*> trajectories;
  };

  template <class Then>
  void Judge(const Unit& unit, Then then);
  void Write(const Unit& unit);

  RewardPool* pool_;
  Records* records_;
  std::deque<Trajectory> samples_;                              // never move
  std::map<const Prompt*, std::vector<Trajectory*>> gathered_;  // not judged yet: the group is not whole
  absl::Mutex mutex_;
  std::vector<Unit> again_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace temper
