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

}  // namespace temper
