// SPDX-License-Identifier: Apache-2.0
#include "rollout/group_queue.h"

#include <algorithm>
#include <utility>

#include "core/deal.h"

namespace temper {

GroupQueue::GroupQueue(std::vector<Item> groups, int ranks)
    : groups_(std::move(groups)),
      own_(ranks),
      tokens_(ranks, 0),
      left_(static_cast<int64_t>(groups_.size())) {
  std::vector<int64_t> sizes;
  for (const Item& group : groups_) sizes.push_back(group.tokens);
  const std::vector<std::vector<int64_t>> dealt = Deal(sizes, ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    own_[rank].assign(dealt[rank].begin(), dealt[rank].end());
    std::stable_sort(own_[rank].begin(), own_[rank].end(),
                     [&](int64_t a, int64_t b) { return sizes[a] > sizes[b]; });
    for (const int64_t group : own_[rank]) tokens_[rank] += sizes[group];
  }
}

int64_t GroupQueue::TakeOwn(int rank) {
  if (own_[rank].empty()) return -1;
  const int64_t group = own_[rank].front();
  own_[rank].pop_front();
  tokens_[rank] -= groups_[group].tokens;
  --left_;
  return group;
}

int64_t GroupQueue::Take(int rank) {
  if (!own_[rank].empty()) return TakeOwn(rank);
  if (empty()) return -1;
  ++taken_over_;
  return TakeOwn(static_cast<int>(std::max_element(tokens_.begin(), tokens_.end()) - tokens_.begin()));
}

void GroupQueue::Clear() {
  for (std::deque<int64_t>& groups : own_) groups.clear();
  tokens_.assign(own_.size(), 0);
  left_ = 0;
}

}  // namespace temper
