// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

namespace temper {

// The groups of a rollout that no rank has begun yet: dealt to the ranks by the tokens that they are expected
// to take, and each rank's the longest first. Who has begun all of its own takes over from others.
class GroupQueue {
 public:
  struct Item {
    int64_t tokens = 0;  // expected, of prompt and completions
    int64_t samples = 0;
  };

  GroupQueue(std::vector<Item> groups, int ranks);

  bool empty() const { return left_ == 0; }
  int ranks() const { return static_cast<int>(own_.size()); }
  int64_t samples(int64_t group) const { return groups_[group].samples; }
  // The next of the rank's own groups; -1: there is none.
  int64_t TakeOwn(int rank);
  // That, or where there is none the next one of the rank that has the most left; -1: all are begun.
  int64_t Take(int rank);
  void Clear();
  int64_t taken_over() const {
    return taken_over_;
  }  // groups that another rank began than they were dealt to

 private:
  const std::vector<Item> groups_;
  std::vector<std::deque<int64_t>> own_;  // by rank
  std::vector<int64_t> tokens_;           // of these
  int64_t left_ = 0, taken_over_ = 0;
};

}  // namespace temper
