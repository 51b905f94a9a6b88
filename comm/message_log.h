// SPDX-License-Identifier: Apache-2.0
// What the ranks of a mesh would send each other, noted rank by rank while they run alone (comm/counting.h),
// and whether all of it comes together.
#pragma once

#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "comm/mesh.h"

namespace temper {

struct LoggedMessage {
  const char* operation = "";  // a literal: "SendReceive"
  int part = 0;                // of MeshParts()
  int phase = 0;               // of its rank's phases
  int tag = 0;
  bool copy = false;       // the sender does not wait
  int to = -1, from = -1;  // ranks of the part; -1: nobody
  int64_t out_bytes = 0, in_bytes = 0;

  bool operator==(const LoggedMessage&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const LoggedMessage& m) {
    return H::combine(std::move(h), m.operation, m.part, m.phase, m.tag, m.copy, m.to, m.from, m.out_bytes,
                      m.in_bytes);
  }
};

class MessageLog;

// One rank's messages, in its order. For one thread.
class RankMessages {
 public:
  // `log`: of all ranks, if it is one of several.
  explicit RankMessages(const MeshPlace& place, MessageLog* log = nullptr) : place_(place), log_(log) {}

  const MeshPlace& place() const { return place_; }
  // What follows is of this phase; ranks go through the same ones.
  void Begin(std::string phase) { phases_.push_back(std::move(phase)); }
  const std::string& NameOf(int phase) const { return phases_[phase]; }
  void Add(LoggedMessage message);
  // By rank of the part: what each says at this rank's next Gather, AllGather or Sum there.
  std::vector<std::string> Assume(int part, int size, std::string_view mine);

  size_t size() const { return order_.size(); }
  const LoggedMessage& operator[](size_t i) const { return distinct_[order_[i]]; }
  // As if this one had never been sent, or taken: for tests of Match.
  void Forget(size_t i) { order_.erase(order_.begin() + static_cast<int64_t>(i)); }

 private:
  friend class MessageLog;
  // As when it ran last: as long as then, which is what messages depend on.
  bool SaysTheSame() const;
  void Restart();

  const MeshPlace place_;
  MessageLog* const log_;
  std::vector<std::string> phases_;
  absl::flat_hash_map<LoggedMessage, uint32_t> numbers_;
  std::vector<LoggedMessage> distinct_;
  std::vector<uint32_t> followers_;  // of each of them the one that came next, the last time
  std::vector<uint32_t> order_;      // of distinct_
  // The log's texts, one behind the other: when the rank ran last, and now.
  std::vector<const std::string*> said_[kMeshParts], says_[kMeshParts];
};

class MessageLog {
 public:
  // Of all ranks of a mesh, whose dp_replicate is resolved.
  explicit MessageLog(const MeshSizes& sizes);

  // Ranks may run on several threads, each on one.
  RankMessages& of(int64_t rank) { return ranks_[rank]; }
  const RankMessages& of(int64_t rank) const { return ranks_[rank]; }
  int64_t ranks() const { return static_cast<int64_t>(ranks_.size()); }

  // All ranks have run. True: they have to run once more, since now they hear what the others said, which is
  // not what they took them to say (at first: what they say themselves); their messages begin anew.
  bool Hear();

  // Goes through all ranks' messages as they would: each send meets its receive, of the same tag (so of the
  // same collective), bytes, part and phase, where a sender waits for the receiver unless it sends a copy;
  // and none is left. Returns how many there are. Errors name ranks, part, phase and message.
  absl::StatusOr<int64_t> Match() const;

 private:
  friend class RankMessages;
  class Matching;
  const std::string* Keep(std::string_view text);

  std::vector<RankMessages> ranks_;
  std::mutex mutex_;
  std::set<std::string, std::less<>> texts_;  // each once
};

}  // namespace temper
