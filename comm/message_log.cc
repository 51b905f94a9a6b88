// SPDX-License-Identifier: Apache-2.0
#include "comm/message_log.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"

namespace temper {

void RankMessages::Add(LoggedMessage message) {
  message.phase = static_cast<int>(phases_.size()) - 1;
  const auto [at, is_new] = numbers_.try_emplace(message, static_cast<uint32_t>(distinct_.size()));
  if (is_new) distinct_.push_back(message);
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

namespace {

// One end of a message that waits for the other one, or was sent already.
struct MessageEnd {
  int64_t rank = 0;
  size_t number = 0;  // of its rank's messages
  const LoggedMessage* message = nullptr;
};

// Messages from one rank to another, of one tag: the ends that wait for their partners, of one kind.
struct MessageQueue {
  std::vector<MessageEnd> sent, awaited;
};

class Matching {
 public:
  explicit Matching(const MessageLog& log) : log_(log), at_(log.ranks(), 0), open_(log.ranks(), 0) {}

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
    for (const auto& [ends, queue] : queues_) {
      if (queue.sent.empty()) continue;
      const MessageEnd& left = queue.sent.front();
      return absl::InternalError(absl::StrCat(Text(left), ": nobody takes it"));
    }
    return messages;
  }

 private:
  // Where the ranks differ beyond their partners' numbers.
  struct Ends {
    int64_t from, to;
    int tag;
    bool operator==(const Ends&) const = default;
    template <typename H>
    friend H AbslHashValue(H h, const Ends& e) {
      return H::combine(std::move(h), e.from, e.to, e.tag);
    }
  };

  int64_t Peer(int64_t rank, const LoggedMessage& m, int peer) const {
    return RankOf(log_.of(rank).place(), MeshParts()[m.part], peer);
  }

  // The ends of the rank's next message.
  void Post(int64_t rank) {
    if (at_[rank] >= log_.of(rank).size()) return;
    const LoggedMessage& m = log_.of(rank)[at_[rank]];
    const MessageEnd mine{rank, at_[rank], &m};
    if (m.to >= 0) {
      MessageQueue& queue = queues_[{rank, Peer(rank, m, m.to), m.tag}];
      if (!queue.awaited.empty()) {
        const MessageEnd other = queue.awaited.front();
        queue.awaited.erase(queue.awaited.begin());
        Meet(mine, other);
        Close(other.rank);
      } else {
        queue.sent.push_back(mine);
        if (!m.copy) ++open_[rank];
      }
    }
    if (m.from >= 0) {
      MessageQueue& queue = queues_[{Peer(rank, m, m.from), rank, m.tag}];
      if (!queue.sent.empty()) {
        const MessageEnd other = queue.sent.front();
        queue.sent.erase(queue.sent.begin());
        Meet(other, mine);
        if (!other.message->copy) Close(other.rank);
      } else {
        queue.awaited.push_back(mine);
        ++open_[rank];
      }
    }
  }

  void Close(int64_t rank) {
    if (--open_[rank] == 0) ready_.push_back(rank);
  }

  void Meet(const MessageEnd& sent, const MessageEnd& taken) {
    const LoggedMessage &out = *sent.message, &in = *taken.message;
    const bool same_phase = log_.of(sent.rank).NameOf(out.phase) == log_.of(taken.rank).NameOf(in.phase);
    if (out.out_bytes == in.in_bytes && out.part == in.part && same_phase) return;
    error_.Update(absl::InternalError(absl::StrCat(Text(sent), " meets ", Text(taken),
                                                   ": they have to be of the same bytes, part and phase")));
  }

  absl::Status Stuck(int64_t rank) const {
    // On to who keeps whom waiting, to one that has ended or was met already.
    std::vector<bool> met(log_.ranks());
    std::string text;
    for (;;) {
      const LoggedMessage& m = log_.of(rank)[at_[rank]];
      const int64_t peer = WaitsFor(rank, m);
      text = absl::StrCat(Text({rank, at_[rank], &m}), " waits for rank ", peer);
      if (at_[peer] >= log_.of(peer).size())
        return absl::InternalError(absl::StrCat(text, ", which has ended"));
      if (met[rank]) {
        return absl::InternalError(
            absl::StrCat(text, ", which waits too: ", Text({peer, at_[peer], &log_.of(peer)[at_[peer]]})));
      }
      met[rank] = true;
      rank = peer;
    }
  }
  int64_t WaitsFor(int64_t rank, const LoggedMessage& m) const {
    if (m.from >= 0) {
      const auto queue = queues_.find({Peer(rank, m, m.from), rank, m.tag});
      if (queue != queues_.end() && !queue->second.awaited.empty()) return Peer(rank, m, m.from);
    }
    return Peer(rank, m, m.to);
  }

  // "rank 5, update, message 812 of 5000: SendReceive of tp to rank 6 (64 bytes), from rank 4 (64 bytes)".
  std::string Text(const MessageEnd& end) const {
    const LoggedMessage& m = *end.message;
    const RankMessages& all = log_.of(end.rank);
    std::string text =
        absl::StrCat("rank ", end.rank, ", ", all.NameOf(m.phase), ", message ", end.number + 1, " of ",
                     all.size(), ": ", m.operation, " of ", MeshParts()[m.part].name);
    if (m.to >= 0) absl::StrAppend(&text, " to rank ", Peer(end.rank, m, m.to), " (", m.out_bytes, " bytes)");
    if (m.from >= 0)
      absl::StrAppend(&text, " from rank ", Peer(end.rank, m, m.from), " (", m.in_bytes, " bytes)");
    return m.tag > 0 && m.tag < Communicator::kUserTags ? absl::StrCat(text, ", tag ", m.tag) : text;
  }

  const MessageLog& log_;
  std::vector<size_t> at_;      // the rank's message that is under way
  std::vector<int> open_;       // ends of it that wait
  std::vector<int64_t> ready_;  // ranks whose message is over
  absl::flat_hash_map<Ends, MessageQueue> queues_;
  absl::Status error_;
};

}  // namespace

absl::StatusOr<int64_t> MessageLog::Match() const { return Matching(*this).Run(); }

}  // namespace temper
