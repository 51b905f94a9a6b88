// SPDX-License-Identifier: Apache-2.0
#include "comm/message_log.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"

namespace temper {

void RankMessages::Add(LoggedMessage message) {
  message.phase = static_cast<int>(phases_.size()) - 1;
  // Ranks do the same again and again, layer by layer.
  if (!order_.empty()) {
    const uint32_t follower = followers_[order_.back()];
    if (distinct_[follower] == message) return order_.push_back(follower);
  }
  const auto [at, is_new] = numbers_.try_emplace(message, static_cast<uint32_t>(distinct_.size()));
  if (is_new) {
    distinct_.push_back(message);
    followers_.push_back(at->second);
  }
  if (!order_.empty()) followers_[order_.back()] = at->second;
  order_.push_back(at->second);
}

std::vector<std::string> RankMessages::Assume(int part, int size, std::string_view mine) {
  std::vector<std::string> all(size, std::string(mine));
  if (log_ == nullptr) return all;
  const size_t number = says_[part].size();
  says_[part].push_back(log_->Keep(mine));
  for (int r = 0; r < size; ++r) {
    const int64_t rank = RankOf(place_, MeshParts()[part], r);
    const std::vector<const std::string*>& said = log_->of(rank).said_[part];
    if (number < said.size() && rank != RankOf(place_)) all[r] = *said[number];
  }
  return all;
}

bool RankMessages::SaysTheSame() const {
  bool same = true;
  for (int part = 0; part < kMeshParts; ++part) {
    same &= std::equal(said_[part].begin(), said_[part].end(), says_[part].begin(), says_[part].end(),
                       [](const std::string* a, const std::string* b) { return a->size() == b->size(); });
  }
  return same;
}

void RankMessages::Restart() {
  for (int part = 0; part < kMeshParts; ++part) said_[part] = std::exchange(says_[part], {});
  phases_.clear();
  numbers_.clear();
  distinct_.clear();
  followers_.clear();
  order_.clear();
}

MessageLog::MessageLog(const MeshSizes& sizes) {
  ranks_.reserve(RanksOf(sizes));
  for (int64_t rank = 0; rank < RanksOf(sizes); ++rank) ranks_.emplace_back(PlaceOf(sizes, rank), this);
}

bool MessageLog::Hear() {
  if (std::all_of(ranks_.begin(), ranks_.end(), [](const RankMessages& rank) { return rank.SaysTheSame(); }))
    return false;
  for (RankMessages& rank : ranks_) rank.Restart();
  return true;
}

const std::string* MessageLog::Keep(std::string_view text) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = texts_.find(text);
  return &*(found != texts_.end() ? found : texts_.emplace(text).first);
}

class MessageLog::Matching {
 public:
  explicit Matching(const MessageLog& log)
      : log_(log), at_(log.ranks(), 0), open_(log.ranks(), 0), queues_of_(log.ranks()), phases_(log.ranks()) {
    absl::flat_hash_map<Ends, uint32_t> numbers;
    std::vector<std::string> phases;
    for (int64_t rank = 0; rank < log.ranks(); ++rank) {
      const RankMessages& mine = log.of(rank);
      for (const LoggedMessage& m : mine.distinct_) {
        const auto queue = [&](int64_t from, int64_t to) {
          const auto [at, is_new] =
              numbers.try_emplace({from, to, m.tag}, static_cast<uint32_t>(queues_.size()));
          if (is_new) queues_.push_back({.from = from, .to = to});
          return at->second;
        };
        queues_of_[rank].push_back({m.to < 0 ? kNone : queue(rank, Peer(rank, m, m.to)),
                                    m.from < 0 ? kNone : queue(Peer(rank, m, m.from), rank)});
      }
      for (const std::string& phase : mine.phases_) {
        const auto at = std::find(phases.begin(), phases.end(), phase);
        phases_[rank].push_back(at - phases.begin());
        if (at == phases.end()) phases.push_back(phase);
      }
    }
  }

  absl::StatusOr<int64_t> Run() {
    std::vector<int64_t>& ready = ready_;
    for (int64_t rank = log_.ranks(); rank-- > 0;) ready.push_back(rank);
    for (int64_t rank = 0; rank < log_.ranks(); ++rank) Post(rank);
    int64_t messages = 0;
    while (!ready.empty() && error_.ok()) {
      const int64_t rank = ready.back();
      ready.pop_back();
      while (at_[rank] < log_.of(rank).size() && open_[rank] == 0 && error_.ok()) {
        ++at_[rank];
        ++messages;
        Post(rank);
      }
    }
    if (!error_.ok()) return error_;
    for (int64_t rank = 0; rank < log_.ranks(); ++rank) {
      if (at_[rank] < log_.of(rank).size()) return Stuck(rank);
    }
    for (const Queue& queue : queues_) {
      if (queue.empty() || !queue.are_sent) continue;
      return absl::InternalError(
          absl::StrCat(Text(queue.from, queue.ends[queue.first]), ": nobody takes it"));
    }
    return messages;
  }

 private:
  static constexpr uint32_t kNone = ~uint32_t{0};
  // Messages from one rank to another, of one tag: the ends that wait for their partners, all of one kind.
  struct Queue {
    int64_t from = 0, to = 0;
    bool are_sent = false;            // those that wait; else they are awaited
    size_t first = 0;                 // of `ends`: those before have met their partners
    std::vector<uint32_t> ends = {};  // numbers of their rank's messages

    bool empty() const { return first == ends.size(); }
    uint32_t TakeFirst() {
      const uint32_t end = ends[first++];
      if (2 * first > ends.size()) {
        ends.erase(ends.begin(), ends.begin() + static_cast<int64_t>(first));
        first = 0;
      }
      return end;
    }
  };
  struct Ends {
    int64_t from, to;
    int tag;
    bool operator==(const Ends&) const = default;
    template <typename H>
    friend H AbslHashValue(H h, const Ends& e) {
      return H::combine(std::move(h), e.from, e.to, e.tag);
    }
  };
  // Where the ends of a message are; kNone: it has none of the kind.
  struct QueuesOf {
    uint32_t out, in;
  };

  int64_t Peer(int64_t rank, const LoggedMessage& m, int peer) const {
    return RankOf(log_.of(rank).place(), MeshParts()[m.part], peer);
  }
  QueuesOf QueuesOfMessage(int64_t rank, size_t number) const {
    return queues_of_[rank][log_.of(rank).order_[number]];
  }

  // The ends of the rank's next message.
  void Post(int64_t rank) {
    const size_t number = at_[rank];
    if (number >= log_.of(rank).size()) return;
    const auto mine = static_cast<uint32_t>(number);
    const auto [out, in] = QueuesOfMessage(rank, number);
    if (out != kNone) {
      Queue& queue = queues_[out];
      if (!queue.empty() && !queue.are_sent) {
        Meet(queue, mine, queue.TakeFirst());
        Close(queue.to);
      } else {
        queue.are_sent = true;
        queue.ends.push_back(mine);
        if (!log_.of(rank)[number].copy) ++open_[rank];
      }
    }
    if (in != kNone) {
      Queue& queue = queues_[in];
      if (!queue.empty() && queue.are_sent) {
        const uint32_t sent = queue.TakeFirst();
        Meet(queue, sent, mine);
        if (!log_.of(queue.from)[sent].copy) Close(queue.from);
      } else {
        queue.are_sent = false;
        queue.ends.push_back(mine);
        ++open_[rank];
      }
    }
  }

  void Close(int64_t rank) {
    if (--open_[rank] == 0) ready_.push_back(rank);
  }

  void Meet(const Queue& queue, uint32_t sent, uint32_t taken) {
    const LoggedMessage &out = log_.of(queue.from)[sent], &in = log_.of(queue.to)[taken];
    const bool same_phase = phases_[queue.from][out.phase] == phases_[queue.to][in.phase];
    if (out.out_bytes == in.in_bytes && out.part == in.part && same_phase) return;
    error_.Update(absl::InternalError(absl::StrCat(Text(queue.from, sent), " meets ", Text(queue.to, taken),
                                                   ": they have to be of the same bytes, part and phase")));
  }

  absl::Status Stuck(int64_t rank) const {
    // On to who keeps whom waiting, to one that has ended or was met already.
    std::vector<bool> met(log_.ranks());
    std::string text;
    for (;;) {
      const LoggedMessage& m = log_.of(rank)[at_[rank]];
      const int64_t peer = WaitsFor(rank, m);
      text = absl::StrCat(Text(rank, at_[rank]), " waits for rank ", peer);
      if (at_[peer] >= log_.of(peer).size())
        return absl::InternalError(absl::StrCat(text, ", which has ended"));
      if (met[rank]) {
        return absl::InternalError(absl::StrCat(text, ", which waits too: ", Text(peer, at_[peer])));
      }
      met[rank] = true;
      rank = peer;
    }
  }
  int64_t WaitsFor(int64_t rank, const LoggedMessage& m) const {
    const uint32_t in = QueuesOfMessage(rank, at_[rank]).in;
    const bool awaits = in != kNone && !queues_[in].empty() && !queues_[in].are_sent;
    return awaits ? queues_[in].from : Peer(rank, m, m.to);
  }

  // "rank 5, update, message 812 of 5000: SendReceive of tp to rank 6 (64 bytes), from rank 4 (64 bytes)".
  std::string Text(int64_t rank, size_t number) const {
    const RankMessages& all = log_.of(rank);
    const LoggedMessage& m = all[number];
    std::string text = absl::StrCat("rank ", rank, ", ", all.NameOf(m.phase), ", message ", number + 1,
                                    " of ", all.size(), ": ", m.operation, " of ", MeshParts()[m.part].name);
    if (m.to >= 0) absl::StrAppend(&text, " to rank ", Peer(rank, m, m.to), " (", m.out_bytes, " bytes)");
    if (m.from >= 0)
      absl::StrAppend(&text, " from rank ", Peer(rank, m, m.from), " (", m.in_bytes, " bytes)");
    return m.tag > 0 && m.tag < Communicator::kUserTags ? absl::StrCat(text, ", tag ", m.tag) : text;
  }

  const MessageLog& log_;
  std::vector<size_t> at_;      // the rank's message that is under way
  std::vector<int> open_;       // ends of it that wait
  std::vector<int64_t> ready_;  // ranks whose message is over
  std::vector<Queue> queues_;
  std::vector<std::vector<QueuesOf>> queues_of_;  // of each rank's distinct messages
  std::vector<std::vector<int64_t>> phases_;      // of each rank, as numbers that are all ranks'
  absl::Status error_;
};

absl::StatusOr<int64_t> MessageLog::Match() const { return Matching(*this).Run(); }

}  // namespace temper
