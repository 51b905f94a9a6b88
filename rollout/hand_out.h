// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "comm/mesh.h"
#include "rollout/group_queue.h"

namespace temper {

// Who samples which group of a rollout. The ranks that have a policy between them (Mesh::holders) are a
// replica; one of them, which leads it, asks the first replica's for groups once there is room for samples,
// and goes on meanwhile with those that it has. What each rank begins with all know, and nobody asks for it.
// So a replica that has begun its share takes over what a slower one has not.
class HandOut {
 public:
  // Every rank makes it with the same queue. `room`: samples that a rank's engine takes, the same everywhere.
  // Collective over the replica: each rank of it then calls Next before each step, until it ends, and End.
  HandOut(GroupQueue queue, int64_t room, const Mesh& mesh);

  // What this rank begins with.
  const std::vector<int64_t>& first() const { return first_; }

  struct Standing {
    bool stops = false;  // said by the first of the ranks that sample the same (Mesh::mates)
    bool busy = false;   // with samples
    int64_t room = 0;    // for so many more
  };
  struct Turn {
    bool stopped = false;         // one of the replica's ranks stops: so do all
    bool ended = false;           // none has anything left, and none gets more
    std::vector<int64_t> groups;  // that this rank begins now
  };
  Turn Next(const Standing& mine);

  // However it ended. The first replica's leader comes back once no other will ask it any more: all have
  // begun their groups by then.
  void End();

  int64_t taken_over() const { return queue_.taken_over(); }  // known to the first rank

 private:
  struct Answer {
    std::vector<int64_t> given;  // group x ranks of Mesh::in_step + the one of these that gets it
    bool more = false;           // there are groups that nobody has begun
  };
  Answer Give(int replica, std::vector<int64_t> rooms);
  // Answers a replica that asks, or waits until it does.
  void Serve(int replica);
  void Ask(int64_t room);  // of the whole replica
  void Hear();             // the leader: what comes back
  // The leader's answer to the ranks of the replica; this rank's groups of it.
  std::vector<int64_t> Share();

  const Mesh& mesh_;
  Communicator& replicas_;  // the same place in each
  GroupQueue queue_;        // right on the first replica's leader
  std::vector<int64_t> first_;
  bool open_ = true;        // there may be more
  bool asked_ = false;      // and this replica's ranks have not heard the answer
  std::vector<bool> asks_;  // by replica: it may ask yet
  Answer answer_;           // the last one
  bool awaits_ = false;     // the leader: it has not come
};

}  // namespace temper
