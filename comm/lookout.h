// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "comm/pulse.h"
#include "core/json/json.h"

namespace temper {

// What a rank publishes of itself.
struct Sighting {
  std::string start;  // which start of the run it belongs to
  int rank = 0;
  std::string host;
  int64_t pid = 0;
  int64_t beats = 0;  // grows as long as its process runs, whatever its main thread does
  RankState state;
  // Ranks of which nothing has come over the network while this one has waited in vain, for most of the
  // deadline, in rising order. Who waits tells all others so several times in a deadline.
  std::vector<int> unheard;
  bool over = false;  // it has come to its end, and says so before its process does
};
std::string SightingText(const Sighting& sighting);  // a line of JSON
absl::StatusOr<Sighting> ParseSighting(std::string_view text, const std::string& name);

// A rank for which the others wait in vain, or that they have lost.
struct Finding {
  int rank = 0;
  std::vector<std::string>
      hosts;          // its machine; of ranks that died at one look, or wait for each other, all of theirs
  std::string text;   // "rank 1 (n2, process 4711) ..", one line
  bool died = false;  // its process has, and its machine may be well
};

// Judges the ranks of a run by what one of them sees of the others: by changes alone, never by another
// machine's clock. Has no clock, no files and no thread of its own.
class Lookout {
 public:
  Lookout(int rank, int size) : rank_(rank), ranks_(size) {}

  // The rank was seen so. Rank numbers that nobody sees are not judged.
  void See(const Sighting& sighting);
  // From now on the rank is to be seen: one that never is, is lost.
  void Expect(int rank) { ranks_[rank].expected = true; }
  // Its process has let go of its file before it said that it ends. Nothing where it is of another machine
  // and its last sign so old that a file server may have taken the file from a machine that is gone: it is
  // lost then, after the deadline.
  void LetGo(int rank);
  // The watcher was awake for so long since it last looked.
  void Pass(absl::Duration passed);

  // Those whose processes have died, whoever was seen last longest ago first; else somebody who shows no sign
  // for longer than the deadline; else one that stands still for longer, and what it announced besides, while
  // another waits for it, at the end of a chain of such; else, of ranks that wait for each other, those of
  // which most others that wait hear nothing over the network, or, some seconds later, all of them where that
  // tells nobody.
  std::optional<Finding> Judge(absl::Duration deadline) const;

  // The rank that the others waited for longest in the last minute, and which part of that time, of 1.
  struct Straggler {
    int rank = -1;
    double share = 0;
  };
  Straggler Slowest() const;
  // "rank 1 (n2, process 4711): updates, for 3 s": those that stand still longest first, at most eight.
  std::vector<std::string> Ranks() const;
  const Sighting& of(int rank) const { return ranks_[rank].seen; }

 private:
  struct Watched {
    bool expected = false, died = false;
    Sighting seen;
    absl::Duration quiet = absl::ZeroDuration();  // since its process gave a sign
    absl::Duration still = absl::ZeroDuration();  // since its main thread did
    double share = 0;                             // of the time that others waited for it
  };
  // The last of those who wait for each other, from `rank` on; -1: they wait in a ring.
  int EndOf(int rank) const;
  bool Waits(int rank) const;
  bool IsStill(int rank, absl::Duration deadline) const;
  std::vector<int> CutOff(absl::Duration deadline) const;
  std::string Name(int rank) const;
  std::string At(int rank) const;
  std::string Waiting(int rank) const;
  Finding Found(int rank, const std::string& text) const;
  std::vector<int> Dead() const;
  Finding FoundDead(const std::vector<int>& dead) const;
  void AddHosts(const std::vector<int>& ranks, Finding& finding) const;

  const int rank_;
  std::vector<Watched> ranks_;
};

}  // namespace temper
