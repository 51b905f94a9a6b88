// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace temper {

// Drafts how a sequence goes on: as it did after the latest earlier occurrence of its last tokens. Whoever
// computes a draft draws its tokens all the same (rollout/engine.h), so a draft saves passes and changes
// nothing. How long a draft is follows from how right this sequence's drafts were. Costs memory and time of
// a few words a token. One thread.
class Drafter {
 public:
  // How many tokens it has been told.
  int64_t length() const { return static_cast<int64_t>(tokens_.size()); }
  void Append(int32_t token);

  // The next tokens, at most so many; none where its last tokens are new, or where it is often wrong.
  std::vector<int32_t> Draft(int64_t at_most);
  // The first `right` of the `drafted` tokens of the last draft were drawn.
  void Judge(int64_t drafted, int64_t right);

 private:
  // Tokens that are looked for: one token alone is mostly followed by another than the last time.
  static constexpr int64_t kShortest = 2, kLongest = 3;
  using Gram = std::array<int32_t, kLongest>;     // shorter ones have -1 in front
  Gram GramBefore(int64_t end, int64_t n) const;  // the n tokens before `end`

  std::vector<int32_t> tokens_;
  absl::flat_hash_map<Gram, int32_t> next_;  // where the token stands that followed the latest occurrence
  int64_t limit_ = 2;                        // tokens of a draft
  int64_t all_wrong_ = 0;                    // drafts, the last so many
  int64_t pauses_ = 0;                       // drafts still to leave out
};

// Whether drafts that cost a pass of their own are worth it, by the clock: of each number of sequences steps
// go with drafts and without, in turns. After a try of eight steps whichever takes less time a token has a
// turn of 64, or twice as many as it had before, up to 1,024; then the other one is tried again. So the
// slower way has a hundredth of the steps in the end. One thread.
class DraftPace {
 public:
  // A step of more sequences has no drafts.
  static constexpr int64_t kMostSequences = 7;

  // Whether the next step, of so many sequences, is to have drafts.
  bool Drafts(int64_t sequences) const;
  // What one took for so many tokens. It counts where it was the way that Drafts said; but not the first of a
  // turn, which has drafts from before it, or lacks them.
  struct Step {
    int64_t sequences = 0;
    bool drafts = false;
    double seconds = 0;
    int64_t tokens = 0;
  };
  void Took(const Step& step);

 private:
  static constexpr int64_t kTry = 8, kLong = 64, kLongest = 1024;
  struct Way {
    double steps = 0, tokens = 0;  // turns of long ago count less
    double seconds = 0;            // the shortest of the last turn's last eight steps
  };
  struct Turns {
    std::array<Way, 2> ways;  // without drafts, with
    bool drafts = true;       // which has its turn
    bool is_try = true;
    bool is_new = true;     // no step of it was made
    int64_t left = kTry;    // steps of it
    bool better = true;     // which had the last long turn
    int64_t long_turn = 0;  // steps of that

    void Next();
    void Begin(bool with_drafts, int64_t steps);
    // Of steps that nothing held up.
    double SecondsPerToken(bool with_drafts) const {
      const Way& way = ways[with_drafts];
      return way.seconds * way.steps / way.tokens;
    }
  };

  std::array<Turns, kMostSequences + 1> turns_;  // of so many sequences
};

}  // namespace temper
