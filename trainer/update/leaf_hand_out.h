// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "comm/mesh.h"
#include "trainer/update/shares.h"

namespace temper {

// A leaf's short sequences, or one of its long ones (IsLong): what adds to the gradient as one.
struct LeafPart {
  int64_t leaf = 0;
  std::vector<size_t> sequences = {};  // of the leaf
  bool is_long = false;
};
// Of each rank of Mesh::dp(), those of its leaves (LeavesOfRanks), the long ones behind all others.
std::vector<std::vector<LeafPart>> PartsOfRanks(const Leaves& leaves, const Mesh& mesh, int64_t long_tokens);

// Who makes which part of an update's gradient where ranks have all weights for themselves
// (mesh.dp_replicate, each of them with its neighbours of mesh.tp): each makes its own; who has begun all of
// them takes over the last that another one has not begun, and gets its tokens. Parts add as integers, so
// nobody sees it. With other axes ranks run their passes together, and each keeps its own.
class LeafHandOut {
 public:
  static bool IsFor(const Mesh& mesh);

  // All ranks make it of the same `of_ranks` and leaves, whose sequences have tokens where they are a rank's
  // own. Then each calls Next until it has none, and End. Throws CommError.
  LeafHandOut(std::vector<std::vector<LeafPart>> of_ranks, Leaves leaves, const Mesh& mesh);

  // Collective over Mesh::mates: what they make next; null: nobody has any left to begin.
  const LeafPart* Next();
  // Between two microbatches: answers who asks for a part.
  void Serve();
  // Returns when no other will ask any more.
  void End();

  // The sequences of what Next gave; those that were taken over are here.
  const Leaves& leaves() const { return leaves_; }
  int64_t taken_over() const { return taken_over_; }  // by this rank

 private:
  // What another rank is known to be.
  struct Peer {
    bool has_none = false;  // that it has not begun
    bool ended = false;
  };
  struct Word {
    int64_t kind = 0, part = 0, bytes = 0;  // of a part its number among its rank's, and what follows
  };
  bool Leads() const { return mesh_.mates().rank() == 0; }
  void Tell(int peer, int64_t kind);
  // This rank has none any more that it has not begun.
  void TellAllOnceEmpty();
  // The next word of another rank, which is waited for. An ask is answered.
  Word Hear(int peer);
  // Of the ranks that have some, from the next one on.
  std::optional<std::pair<int, int64_t>> TakeOver(std::string* tokens);
  std::string Pack(const LeafPart& part) const;
  void Unpack(const LeafPart& part, const std::string& tokens);

  const Mesh& mesh_;
  Communicator& ranks_;
  const std::vector<std::vector<LeafPart>> of_ranks_;
  Leaves leaves_;
  std::deque<TrainSequence> taken_;  // sequences
  std::deque<int64_t> own_;          // not begun: numbers among this rank's
  bool told_ = false;                // that there are none
  std::vector<Peer> peers_;
  int64_t taken_over_ = 0;
};

}  // namespace temper
