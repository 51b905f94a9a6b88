// SPDX-License-Identifier: Apache-2.0
#include "rollout/hand_out.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace temper {
namespace {

constexpr int kAskTag = 1, kAnswerTag = 2;
constexpr int64_t kAsksNoMore = -1;  // in the place of a room

// The ranks' votes, counted in one integer.
constexpr int64_t kBusy = 1, kHungry = int64_t{1} << 20, kAnswered = int64_t{1} << 40,
                  kStops = int64_t{1} << 41;
constexpr int64_t kVotes = kHungry - 1;

}  // namespace

HandOut::HandOut(GroupQueue queue, int64_t room, const Mesh& mesh)
    : mesh_(mesh), replicas_(mesh.axis(Axis::kDpReplicate)), queue_(std::move(queue)) {
  for (int rank = 0; rank < queue_.ranks(); ++rank) {
    for (int64_t left = room; left > 0;) {
      const int64_t group = queue_.TakeOwn(rank);
      if (group < 0) break;
      left -= queue_.samples(group);
      if (rank == mesh.dp_rank()) first_.push_back(group);
    }
  }
  open_ = !queue_.empty();
  answer_.more = open_;
  asks_.assign(replicas_.size(), open_);
}

HandOut::Answer HandOut::Give(int replica, std::vector<int64_t> rooms) {
  Answer answer;
  for (;;) {
    const auto place = std::max_element(rooms.begin(), rooms.end()) - rooms.begin();
    if (rooms[place] <= 0) break;
    const int64_t group = queue_.Take(replica * mesh_.in_step().size() + static_cast<int>(place));
    if (group < 0) break;
    rooms[place] -= queue_.samples(group);
    answer.given.push_back(group * mesh_.in_step().size() + place);
  }
  answer.more = !queue_.empty();
  return answer;
}

void HandOut::Serve(int replica) {
  std::vector<int64_t> rooms(mesh_.in_step().size());
  replicas_.Receive(rooms.data(), rooms.size() * sizeof rooms[0], replica, kAskTag);
  asks_[replica] = rooms[0] != kAsksNoMore;
  if (!asks_[replica]) return;
  const Answer answer = Give(replica, std::move(rooms));
  asks_[replica] = answer.more;
  const int64_t head[] = {static_cast<int64_t>(answer.given.size()), answer.more ? 1 : 0};
  replicas_.SendCopy(head, sizeof head, replica, kAnswerTag);
  replicas_.SendCopy(answer.given.data(), answer.given.size() * sizeof answer.given[0], replica, kAnswerTag);
}

void HandOut::Ask(int64_t room) {
  asked_ = true;
  if (mesh_.mates().rank() != 0) return;
  const std::string mine(reinterpret_cast<const char*>(&room), sizeof room);
  const std::vector<std::string> all = mesh_.in_step().Gather(mine, 0);
  if (mesh_.holders().rank() != 0) return;
  std::vector<int64_t> rooms(all.size());
  for (size_t place = 0; place < all.size(); ++place)
    std::memcpy(&rooms[place], all[place].data(), sizeof rooms[place]);
  if (replicas_.rank() == 0) {
    answer_ = Give(0, std::move(rooms));
  } else {
    replicas_.SendCopy(rooms.data(), rooms.size() * sizeof rooms[0], 0, kAskTag);
    awaits_ = true;
  }
}

void HandOut::Hear() {
  int64_t head[2];
  replicas_.Receive(head, sizeof head, 0, kAnswerTag);
  answer_ = {std::vector<int64_t>(head[0]), head[1] != 0};
  replicas_.Receive(answer_.given.data(), answer_.given.size() * sizeof answer_.given[0], 0, kAnswerTag);
  awaits_ = false;
}

std::vector<int64_t> HandOut::Share() {
  Communicator& replica = mesh_.holders();
  int64_t head[] = {static_cast<int64_t>(answer_.given.size()), answer_.more ? 1 : 0};
  replica.Broadcast(head, sizeof head, 0);
  answer_.given.resize(head[0]);
  replica.Broadcast(answer_.given.data(), answer_.given.size() * sizeof answer_.given[0], 0);
  asked_ = false;
  open_ = head[1] != 0;
  std::vector<int64_t> groups;
  const int64_t ranks = mesh_.in_step().size();
  for (const int64_t given : answer_.given) {
    if (given % ranks == mesh_.in_step().rank()) groups.push_back(given / ranks);
  }
  return groups;
}

HandOut::Turn HandOut::Next(const Standing& mine) {
  const bool leads = mesh_.holders().rank() == 0, first = replicas_.rank() == 0;
  for (bool waits = false;;) {
    if (leads && first) {
      for (int replica = 1; replica < replicas_.size(); ++replica) {
        if (asks_[replica] && replicas_.HasCome(replica, kAskTag)) Serve(replica);
      }
    }
    // The mates go by their first one, since a clock may decide when an answer is there.
    int64_t said = mine.stops ? kStops : 0;
    if (awaits_ && (waits || replicas_.HasCome(0, kAnswerTag))) {
      Hear();
      said += kAnswered;
    }
    mesh_.mates().Broadcast(&said, sizeof said, 0);
    const bool hungry = open_ && !asked_ && mine.room > 0;
    const int64_t votes = mesh_.in_step().Sum(said + (mine.busy ? kBusy : 0) + (hungry ? kHungry : 0));
    Turn turn;
    turn.stopped = votes >= kStops;
    if (turn.stopped) return turn;
    bool answered = (votes & kAnswered) != 0;
    if ((votes / kHungry & kVotes) > 0) {
      Ask(hungry ? mine.room : 0);
      answered = first;
    }
    if (answered) turn.groups = Share();
    const bool busy = (votes & kVotes) > 0 || (answered && !answer_.given.empty());
    turn.ended = !busy && !asked_;
    waits = !busy && asked_;
    if (!waits) return turn;
  }
}

void HandOut::End() {
  if (mesh_.holders().rank() != 0) return;
  if (replicas_.rank() == 0) {
    queue_.Clear();
    for (int replica = 1; replica < replicas_.size(); ++replica) {
      while (asks_[replica]) Serve(replica);
    }
    return;
  }
  if (awaits_) Hear();
  if (!answer_.more) return;
  const std::vector<int64_t> none(mesh_.in_step().size(), kAsksNoMore);
  replicas_.SendCopy(none.data(), none.size() * sizeof none[0], 0, kAskTag);
}

}  // namespace temper
