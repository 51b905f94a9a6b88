// SPDX-License-Identifier: Apache-2.0
#include "rollout/drafter.h"

#include <algorithm>

namespace temper {

Drafter::Gram Drafter::GramBefore(int64_t end, int64_t n) const {
  Gram gram;
  gram.fill(-1);
  std::copy_n(tokens_.begin() + end - n, n, gram.end() - n);
  return gram;
}

void Drafter::Append(int32_t token) {
  // The last tokens count as an occurrence only now that a token follows them.
  for (int64_t n = kShortest; n <= std::min(kLongest, length()); ++n)
    next_[GramBefore(length(), n)] = static_cast<int32_t>(length());
  tokens_.push_back(token);
}

std::vector<int32_t> Drafter::Draft(int64_t at_most) {
  if (pauses_ > 0) {
    --pauses_;
    return {};
  }
  std::vector<int32_t> draft;
  for (int64_t n = std::min(kLongest, length()); n >= kShortest && draft.empty(); --n) {
    const auto found = next_.find(GramBefore(length(), n));
    if (found == next_.end()) continue;
    // Behind the sequence's end the draft repeats itself, as a period does.
    for (int64_t i = 0, from = found->second; i < std::min(at_most, limit_); ++i, ++from)
      draft.push_back(from < length() ? tokens_[from] : draft[from - length()]);
  }
  return draft;
}

void Drafter::Judge(int64_t drafted, int64_t right) {
  if (drafted == 0) return;
  constexpr int64_t kMostTokens = 64;
  limit_ = right == drafted ? std::min(kMostTokens, 2 * limit_) : right + 1;
  all_wrong_ = right > 0 ? 0 : all_wrong_ + 1;
  // From the fifth wrong one on 1, 3, 7, then always 15 are left out.
  pauses_ = (int64_t{1} << std::clamp<int64_t>(all_wrong_ - 4, 0, 4)) - 1;
}

bool DraftPace::Drafts(int64_t sequences) const {
  return sequences >= 1 && sequences <= kMostSequences && turns_[sequences].drafts;
}

void DraftPace::Took(const Step& step) {
  if (step.sequences < 1 || step.sequences > kMostSequences || step.tokens < 1) return;
  Turns& turns = turns_[step.sequences];
  if (step.drafts != turns.drafts) return;
  if (turns.is_new) {
    turns.is_new = false;
    return;
  }
  Way& way = turns.ways[step.drafts];
  way.seconds = turns.left == kTry ? step.seconds : std::min(way.seconds, step.seconds);
  way.steps += 1;
  way.tokens += static_cast<double>(step.tokens);
  if (--turns.left == 0) turns.Next();
}

void DraftPace::Turns::Next() {
  const bool other_is_known = ways[!drafts].tokens > 0;
  if (!is_try || !other_is_known) {
    is_try = true;
    Begin(!drafts, kTry);
    return;
  }
  const bool now = SecondsPerToken(true) <= SecondsPerToken(false);
  long_turn = now == better && long_turn > 0 ? std::min(2 * long_turn, kLongest) : kLong;
  better = now;
  is_try = false;
  Begin(now, long_turn);
}

void DraftPace::Turns::Begin(bool with_drafts, int64_t steps) {
  constexpr double kFade = 0.25;
  is_new = with_drafts != drafts;
  drafts = with_drafts;
  left = steps;
  ways[with_drafts].steps *= kFade;
  ways[with_drafts].tokens *= kFade;
}

}  // namespace temper
