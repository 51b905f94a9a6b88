// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "rollout/page_allocator.h"
#include "rollout/prefix_cache.h"
#include "rollout/sequence.h"

namespace temper {

struct SchedulerOptions {
  int64_t pages = 0;              // of the cache
  int64_t max_batch = 256;        // sequences that run together
  int64_t prefill_tokens = 1024;  // tokens that a pass computes beside those of sequences that decode
  int64_t draft_tokens = 0;       // tokens of a draft, at most; none where a pass has many rows anyway
  bool mtp = false;  // drafts are Sequence::mtp_draft, one token, and what a prompt shares is as below
};

// Passes of more rows get no drafts (docs/benchmarks.md, "Drafts").
constexpr int64_t kRowsWithDrafts = 8;

// Which sequences run, with which pages, and what each forward pass computes; no model is needed for that.
//
// Sequences have precedence in the order of their ids. They come in while there are slots and pages for what
// they have; nobody reserves pages for what it may yet sample. Where one that runs finds no page any more,
// these are given up in turn: prefixes that nobody uses, pages of paused sequences, and those of the running
// sequence that came last, which then waits in its old place and is computed again. So the first one always
// goes on, and every sequence that fits the cache alone is finished.
//
// Sequences share the pages of what their prompts have in common with prompts computed before: of their own
// group, and of any other. One whose prompt begins like one that is just being computed waits for that.
//
// Where a pass has few rows, sequences that decode take drafts of their next tokens along
// (rollout/drafter.h), which get pages only where more are free than those that run will soon want. The MTP
// module's key of a position hangs on the next token and on what the layers made of this one: so with it of a
// prefix that is found the last token is computed again, in a page of the sequence's own.
//
// Sequences are the caller's and stay where they are until Remove. One thread.
class Scheduler {
 public:
  // Of a sequence that came in; to be done in this order, before anything else.
  struct Copy {
    int32_t from, to;  // pages
  };
  struct Admission {
    std::vector<Copy> copies;
    std::vector<Sequence*> drawable;  // nothing of them is left to compute: their next token can be drawn
  };
  struct Rows {
    Sequence* sequence;
    int64_t count;                     // of its missing tokens, the first ones
    std::vector<int32_t> drafts = {};  // behind them, where none is missing
  };
  struct Counts {
    int64_t prompt_tokens = 0;      // computed
    int64_t shared_tokens = 0;      // of prompts, found in the cache
    int64_t recomputed_tokens = 0;  // of sequences whose pages were given up
    int64_t preemptions = 0;        // sequences that had to stop and wait
    int64_t drafted_tokens = 0;
    int64_t accepted_tokens = 0;  // drafted ones that needed no pass of their own
  };

  explicit Scheduler(const SchedulerOptions& options);
  Scheduler(const Scheduler&) = delete;

  bool idle() const { return running_.empty() && waiting_.empty(); }
  int64_t running() const { return static_cast<int64_t>(running_.size()); }
  int64_t waiting() const { return static_cast<int64_t>(waiting_.size()); }
  // That the next pass can have, as far as slots go and, as those that came in last found, pages.
  int64_t next() const {
    return lacks_pages_ ? running() : std::min(options_.max_batch, running() + waiting());
  }

  // From now on it waits for its turn, with the pages that it has.
  void Add(Sequence* sequence);
  // Lets sequences come in.
  Admission Admit();
  // What the next pass computes: those that decode first. Their pages are there.
  std::vector<Rows> Plan();
  // The pass is done. Drafts count as computed once they are accepted.
  void Computed(const std::vector<Rows>& plan);
  // The sequence's next token was drawn, is the next one of its drafts, and has been appended.
  void Accept(Sequence* sequence);
  // It runs no more, and keeps its pages as long as nobody needs them.
  void Pause(Sequence* sequence);
  void Remove(Sequence* sequence);
  // What was computed is worth nothing any more: running sequences wait to be computed again.
  void WeightsChanged();

  // Sequences that run, by id.
  const std::map<int64_t, Sequence*>& running_sequences() const { return running_; }
  // Of how many of its positions, from the first on, the MTP module's keys are there: at most those that are
  // computed. Sequences that share a page share these too.
  int64_t MtpKeys(const Sequence& sequence) const;
  void SetMtpKeys(const Sequence& sequence, int64_t positions);

  const Counts& counts() const { return counts_; }
  void ClearCounts() { counts_ = {}; }

 private:
  // False: there are no pages for it, and nothing has changed.
  bool ComesIn(Sequence* sequence, const PrefixCache::Match& match, Admission* admission);
  bool IsBeingComputed(const Sequence& sequence, int64_t found) const;
  bool MakeFree(int64_t pages);  // as far as that goes without taking any from one that runs
  int32_t TakePage();            // one that MakeFree made free
  // Pages for so many positions, in the worst case those of sequences that came later. False: it was the last
  // one itself, and stopped.
  bool Grow(Sequence* sequence, int64_t positions);
  void AddDrafts(std::vector<Rows>* plan);
  void GiveUpPages(Sequence* sequence);
  void Stop(Sequence* sequence);  // a running one: it waits, without pages

  const SchedulerOptions options_;
  PageAllocator pages_;
  PrefixCache prefixes_;
  std::map<int64_t, Sequence*> running_, waiting_;  // by id
  std::map<int64_t, Sequence*> resting_;            // have pages and do not run: paused, or waiting again
  bool lacks_pages_ = false;                        // for the next one that would come in
  Counts counts_;
};

}  // namespace temper
