// SPDX-License-Identifier: Apache-2.0
#include "rollout/scheduler.h"

#include <algorithm>

#include "core/check.h"

namespace temper {
namespace {

// The tokens at the beginning of a's prompt that a shared page can hold when b's is computed: whole pages, or
// all of it.
int64_t Shareable(const Sequence& a, const Sequence& b) {
  if (a.group == b.group) return a.prompt_length();
  const auto most = std::min(a.prompt_length(), b.prompt_length());
  const int64_t common =
      std::mismatch(a.prompt().begin(), a.prompt().begin() + most, b.prompt().begin()).first -
      a.prompt().begin();
  return common == a.prompt_length() ? common : common / kPagePositions * kPagePositions;
}

// At most so many tokens of the match. A page of which a token is to be computed is no whole one.
void Shorten(int64_t tokens, PrefixCache::Match* match) {
  if (match->tokens <= tokens) return;
  match->tokens = tokens;
  const size_t whole = tokens / kPagePositions;
  if (whole < match->whole.size()) {
    match->partial = match->whole[whole];
    match->whole.resize(whole);
  }
  if (tokens % kPagePositions == 0) match->partial = -1;
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options), pages_(options.pages), prefixes_(&pages_) {}

void Scheduler::Add(Sequence* sequence) {
  TEMPER_CHECK(!running_.contains(sequence->id));
  TEMPER_CHECK(waiting_.emplace(sequence->id, sequence).second);
}

Scheduler::Admission Scheduler::Admit() {
  Admission admission;
  lacks_pages_ = false;
  int64_t backlog = 0;  // tokens of running sequences that passes to come will compute
  for (const auto& [id, sequence] : running_) backlog += sequence->missing() > 1 ? sequence->missing() : 0;
  // One that waits for a prefix is passed over, and its slot stays free for it.
  auto slots = options_.max_batch - static_cast<int64_t>(running_.size());
  for (auto next = waiting_.begin(); next != waiting_.end() && slots > 0; --slots) {
    Sequence* const sequence = next->second;
    PrefixCache::Match match;
    if (sequence->pages.empty()) {
      match = prefixes_.Find(sequence->prompt());
      if (IsBeingComputed(*sequence, match.tokens)) {
        ++next;
        continue;
      }
      Shorten(sequence->length() - (sequence->drawable() ? 0 : 1), &match);
      if (options_.mtp) Shorten(std::max<int64_t>(match.tokens - 1, 0), &match);
    }
    const int64_t missing = sequence->length() - std::max(sequence->computed, match.tokens);
    if (missing > 1 && backlog >= options_.prefill_tokens) break;
    lacks_pages_ = !ComesIn(sequence, match, &admission);
    if (lacks_pages_) break;
    next = waiting_.erase(next);
    running_.emplace(sequence->id, sequence);
    if (missing == 0) admission.drawable.push_back(sequence);
    if (missing > 1) backlog += missing;
  }
  return admission;
}

bool Scheduler::IsBeingComputed(const Sequence& sequence, int64_t found) const {
  return std::any_of(running_.begin(), running_.end(), [&](const auto& other) {
    return other.second->computed < other.second->prompt_length() &&
           Shareable(sequence, *other.second) > found;
  });
}

bool Scheduler::ComesIn(Sequence* sequence, const PrefixCache::Match& match, Admission* admission) {
  const bool rested = resting_.erase(sequence->id) > 0;
  for (int32_t page : match.whole) {
    pages_.Share(page);
    sequence->pages.push_back(page);
  }
  // One page more for each that runs: all of them will want one soon, and stopping one costs its pages.
  const int64_t needed = PagesFor(sequence->length()) - static_cast<int64_t>(sequence->pages.size());
  if (!MakeFree(needed + static_cast<int64_t>(running_.size()))) {
    if (rested) {
      resting_.emplace(sequence->id, sequence);
    } else {
      GiveUpPages(sequence);
    }
    return false;
  }
  for (int64_t i = 0; i < needed; ++i) {
    sequence->pages.push_back(TakePage());
    if (i > 0 || match.partial < 0) continue;
    const int32_t copy = sequence->pages.back();
    admission->copies.push_back({match.partial, copy});
    pages_.SetMtpKeys(copy, std::min(pages_.mtp_keys(match.partial), match.tokens % kPagePositions));
  }
  if (match.tokens > sequence->computed) {
    sequence->computed = match.tokens;
    counts_.shared_tokens += std::max<int64_t>(0, match.tokens - sequence->furthest);
    sequence->furthest = std::max(sequence->furthest, match.tokens);
  }
  return true;
}

std::vector<Scheduler::Rows> Scheduler::Plan() {
  std::vector<Rows> plan;
  int64_t room = options_.prefill_tokens;
  for (auto next = running_.begin(); next != running_.end(); ++next) {
    Sequence* const sequence = next->second;
    const int64_t missing = sequence->missing();
    TEMPER_CHECK(missing > 0);
    const int64_t rows = missing == 1 ? 1 : std::min(missing, room);
    if (rows == 0) continue;
    if (!Grow(sequence, sequence->computed + rows)) break;  // it was the last one, and stopped
    if (missing > 1) room -= rows;
    plan.push_back({sequence, rows});
  }
  std::stable_partition(plan.begin(), plan.end(),
                        [](const Rows& rows) { return rows.sequence->missing() == 1; });
  if (options_.draft_tokens > 0) AddDrafts(&plan);
  return plan;
}

void Scheduler::AddDrafts(std::vector<Rows>* plan) {
  int64_t room = kRowsWithDrafts;
  for (const Rows& rows : *plan) room -= rows.count;
  for (size_t i = 0; i < plan->size() && room > 0; ++i) {
    Rows& rows = (*plan)[i];
    Sequence* const sequence = rows.sequence;
    const auto left = static_cast<int64_t>(plan->size() - i);  // that may have drafts, with this one
    if (sequence->missing() > 1 || sequence->trajectory.tokens.empty()) continue;
    for (int64_t at = sequence->drafter.length(); at < sequence->length() && !options_.mtp; ++at)
      sequence->drafter.Append(sequence->token(at));
    const bool page_is_free = pages_.free_pages() > static_cast<int64_t>(running_.size());
    const auto pages = static_cast<int64_t>(sequence->pages.size());
    const int64_t positions = (pages + (page_is_free ? 1 : 0)) * kPagePositions - sequence->length();
    // The last token that may be sampled is no row of any pass.
    const int64_t most = std::min(
        {options_.draft_tokens, (room + left - 1) / left, positions, sequence->left_to_sample() - 1});
    if (!options_.mtp) {
      rows.drafts = sequence->drafter.Draft(most);
    } else if (most > 0 && sequence->mtp_draft >= 0) {
      rows.drafts = {sequence->mtp_draft};
    }
    const auto drafted = static_cast<int64_t>(rows.drafts.size());
    if (PagesFor(sequence->length() + drafted) > pages) sequence->pages.push_back(TakePage());
    counts_.drafted_tokens += drafted;
    room -= drafted;
  }
}

void Scheduler::Computed(const std::vector<Rows>& plan) {
  for (const auto& [sequence, count, drafts] : plan) {
    const int64_t before = sequence->computed, after = before + count, prompt = sequence->prompt_length();
    sequence->computed = after;
    const int64_t anew = std::clamp<int64_t>(sequence->furthest, before, after);
    counts_.recomputed_tokens += anew - before;
    counts_.prompt_tokens += std::max<int64_t>(0, std::min(after, prompt) - anew);
    sequence->furthest = std::max(sequence->furthest, after);
    if (before >= prompt) continue;
    const int64_t known = after >= prompt ? prompt : after / kPagePositions * kPagePositions;
    prefixes_.Insert(absl::MakeSpan(sequence->prompt()).subspan(0, known), sequence->pages);
  }
}

int64_t Scheduler::MtpKeys(const Sequence& sequence) const {
  int64_t keys = 0;
  for (const int32_t page : sequence.pages) {
    const int64_t here = pages_.mtp_keys(page);
    keys += here;
    if (here < kPagePositions) break;
  }
  return keys;
}

void Scheduler::SetMtpKeys(const Sequence& sequence, int64_t positions) {
  for (int64_t page = 0, first = 0; first < positions; ++page, first += kPagePositions)
    pages_.SetMtpKeys(sequence.pages[page], std::min(kPagePositions, positions - first));
}

void Scheduler::Accept(Sequence* sequence) {
  sequence->furthest = std::max(sequence->furthest, ++sequence->computed);
  ++counts_.accepted_tokens;
}

void Scheduler::Pause(Sequence* sequence) {
  TEMPER_CHECK(running_.erase(sequence->id) == 1);
  resting_.emplace(sequence->id, sequence);
}

void Scheduler::Remove(Sequence* sequence) {
  running_.erase(sequence->id);
  waiting_.erase(sequence->id);
  resting_.erase(sequence->id);
  GiveUpPages(sequence);
}

void Scheduler::WeightsChanged() {
  prefixes_.Clear();
  while (!running_.empty()) Stop(running_.begin()->second);
  for (const auto& [id, sequence] : resting_) GiveUpPages(sequence);
  resting_.clear();
}

bool Scheduler::MakeFree(int64_t pages) {
  while (pages_.free_pages() + pages_.unused_pages() < pages) {
    if (resting_.empty()) return false;
    const auto last = std::prev(resting_.end());
    GiveUpPages(last->second);
    resting_.erase(last);
  }
  return true;
}

int32_t Scheduler::TakePage() {
  if (pages_.free_pages() == 0) TEMPER_CHECK(prefixes_.Evict());
  return pages_.Take();
}

bool Scheduler::Grow(Sequence* sequence, int64_t positions) {
  while (static_cast<int64_t>(sequence->pages.size()) < PagesFor(positions)) {
    while (!MakeFree(1)) {
      Sequence* const last = running_.rbegin()->second;
      TEMPER_CHECK(running_.size() > 1, "a sequence that the cache cannot hold");
      Stop(last);
      ++counts_.preemptions;
      if (last == sequence) return false;
    }
    sequence->pages.push_back(TakePage());
  }
  return true;
}

void Scheduler::GiveUpPages(Sequence* sequence) {
  for (int32_t page : sequence->pages) pages_.Release(page);
  sequence->pages.clear();
  sequence->computed = 0;
}

void Scheduler::Stop(Sequence* sequence) {
  running_.erase(sequence->id);
  GiveUpPages(sequence);
  waiting_.emplace(sequence->id, sequence);
}

}  // namespace temper
