// SPDX-License-Identifier: Apache-2.0
// The scheduler without a model: a cache that holds, for each position, a hash of all tokens up to it shows
// whether every sequence finds in its pages what it would have computed itself.
#include "rollout/scheduler.h"

#include <algorithm>
#include <deque>
#include <set>

#include "core/random.h"
#include "gtest/gtest.h"

namespace temper {
namespace {

using Tokens = std::vector<int32_t>;

uint64_t Hash(uint64_t before, int32_t token) {
  const auto words = Philox({static_cast<uint32_t>(token), 1, 2, 3}, before);
  return (uint64_t{words[0]} << 32) | words[1];
}

// Requests with their sequences, which begin to wait at once.
class Workload {
 public:
  explicit Workload(Scheduler* scheduler) : scheduler_(scheduler) {}

  // `samples` of a prompt, each of `new_tokens` tokens.
  std::vector<Sequence*> Add(const Tokens& tokens, int samples, int64_t new_tokens) {
    prompts_.emplace_back().tokens = tokens;
    sampling_.emplace_back().max_new_tokens = new_tokens;
    requests_.push_back({.prompt = &prompts_.back(), .sampling = &sampling_.back()});
    const auto group = std::make_shared<SequenceGroup>();
    group->request = &requests_.back();
    group->not_begun = samples;
    std::vector<Sequence*> added;
    for (int i = 0; i < samples; ++i) {
      Sequence& sequence = sequences_.emplace_back();
      sequence.id = static_cast<int64_t>(sequences_.size());
      sequence.group = group;
      new_tokens_.push_back(new_tokens);
      scheduler_->Add(&sequence);
      added.push_back(&sequence);
    }
    return added;
  }
  std::deque<Sequence>& sequences() { return sequences_; }
  int64_t new_tokens(const Sequence& sequence) const { return new_tokens_[sequence.id - 1]; }

 private:
  Scheduler* scheduler_;
  std::deque<Prompt> prompts_;
  std::deque<SamplingOptions> sampling_;
  std::deque<SampleRequest> requests_;
  std::deque<Sequence> sequences_;
  std::vector<int64_t> new_tokens_;
};

// What the engine does, with hashes in place of keys and values.
class Simulation {
 public:
  explicit Simulation(const SchedulerOptions& options)
      : scheduler(options), work(&scheduler), options_(options), cache_(options.pages) {
    for (auto& page : cache_) page.resize(kPagePositions);
  }

  // One pass; the sequences it computed for, with their rows.
  std::vector<Scheduler::Rows> Step() {
    const Scheduler::Admission admission = scheduler.Admit();
    for (const auto& [from, to] : admission.copies) cache_[to] = cache_[from];
    for (Sequence* sequence : admission.drawable) {
      EXPECT_EQ(sequence->missing(), 0);
      Append(sequence, *static_cast<int32_t*>(sequence->group->logits.get()));
    }
    const std::vector<Scheduler::Rows> plan = scheduler.Plan();
    int64_t prefill = 0;
    std::set<int32_t> written;
    for (const auto& [sequence, count, drafts] : plan) {
      EXPECT_GT(count, 0);
      if (sequence->missing() > 1) prefill += count;
      uint64_t hash = 0;
      const int64_t end = sequence->computed + count + static_cast<int64_t>(drafts.size());
      EXPECT_TRUE(drafts.empty() || count == sequence->missing());
      EXPECT_TRUE(drafts.empty() || end < sequence->length() + sequence->left_to_sample())
          << "nothing follows the last token";
      EXPECT_LE(sequence->computed, sequence->furthest);
      for (int64_t i = 0; i < end; ++i) {
        hash = Hash(hash, i < sequence->length() ? sequence->token(i) : drafts[i - sequence->length()]);
        const int32_t page = sequence->pages.at(i / kPagePositions);
        uint64_t& held = cache_[page][i % kPagePositions];
        if (i < sequence->computed)
          EXPECT_EQ(held, hash) << "sequence " << sequence->id << ", position " << i;
        held = hash;
      }
      for (int64_t page = sequence->computed / kPagePositions; page < PagesFor(end); ++page)
        EXPECT_TRUE(written.insert(sequence->pages[page]).second) << "two sequences write one page";
    }
    EXPECT_LE(prefill, options_.prefill_tokens);
    EXPECT_LE(static_cast<int64_t>(plan.size()), options_.max_batch);
    scheduler.Computed(plan);
    for (const auto& [sequence, count, drafts] : plan) {
      if (sequence->missing() > 0) continue;
      SequenceGroup& group = *sequence->group;
      uint64_t hash = 0;
      for (int64_t i = 0; i < sequence->length(); ++i) hash = Hash(hash, sequence->token(i));
      auto next = static_cast<int32_t>(hash % vocabulary);
      if (sequence->trajectory.tokens.empty() && group.not_begun > 1)
        group.logits = std::make_shared<int32_t>(next);
      for (size_t i = 0; Append(sequence, next) && i < drafts.size() && next == drafts[i]; ++i) {
        scheduler.Accept(sequence);
        EXPECT_EQ(sequence->missing(), 0);
        hash = Hash(hash, next);
        next = static_cast<int32_t>(hash % vocabulary);
      }
    }
    return plan;
  }
  // Steps until all are finished.
  void Run(int64_t at_most = 100'000) {
    for (; !scheduler.idle() && steps_ < at_most; ++steps_) Step();
    EXPECT_TRUE(scheduler.idle()) << "after " << steps_ << " steps";
  }

  Scheduler scheduler;
  Workload work;
  std::vector<int64_t> finished;  // ids, in their order
  bool pause_finished = false;
  uint64_t vocabulary = 1000;  // with few tokens drafts are right now and then

 private:
  // Whether it goes on.
  bool Append(Sequence* sequence, int32_t token) {
    SequenceGroup& group = *sequence->group;
    if (sequence->trajectory.tokens.empty() && --group.not_begun == 0) group.logits = nullptr;
    sequence->trajectory.Extend(Segment::Kind::kSampled, 0, 1);
    sequence->trajectory.tokens.push_back(token);
    if (static_cast<int64_t>(sequence->trajectory.tokens.size()) < work.new_tokens(*sequence)) return true;
    finished.push_back(sequence->id);
    if (pause_finished) {
      scheduler.Pause(sequence);
    } else {
      scheduler.Remove(sequence);
    }
    return false;
  }

  const SchedulerOptions options_;
  std::vector<std::vector<uint64_t>> cache_;
  int64_t steps_ = 0;
};

Tokens Random(int64_t length, uint64_t name) {
  RandomStream stream(name, Purpose::kTask);
  Tokens tokens(length);
  for (int32_t& token : tokens) token = static_cast<int32_t>(stream.NextBelow(500));
  return tokens;
}

Tokens Joined(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(Scheduler, ComputesAGroupsPromptOnceAndBeginsItsOtherSamplesWithoutAPass) {
  Simulation s({.pages = 40, .max_batch = 8});
  s.work.Add(Random(100, 1), 6, 3);
  EXPECT_EQ(s.Step().size(), 1u);
  EXPECT_EQ(s.Step().size(), 6u) << "the other five have drawn their first token";
  s.Run();
  EXPECT_EQ(s.scheduler.counts().prompt_tokens, 100);
  EXPECT_EQ(s.scheduler.counts().shared_tokens, 500);
  EXPECT_EQ(s.scheduler.counts().preemptions, 0);
}

TEST(Scheduler, PassesOverASampleWhosePromptIsBeingComputedAndLetsOthersIn) {
  Simulation s({.pages = 40, .max_batch = 4, .prefill_tokens = 1000});
  s.work.Add(Random(30, 1), 2, 3);
  s.work.Add(Random(30, 2), 2, 3);
  s.work.Add(Random(30, 3), 2, 3);
  EXPECT_EQ(s.Step().size(), 2u) << "one of each group; the slots of the other two are kept";
  EXPECT_EQ(s.Step().size(), 4u);
  s.Run();
}

TEST(Scheduler, SharesTheBeginningOfAnotherPrompt) {
  const Tokens system = Random(150, 9);
  Simulation s({.pages = 60, .max_batch = 8});
  for (uint64_t i = 0; i < 5; ++i) s.work.Add(Joined(system, Random(20 + i, i)), 1, 4);
  EXPECT_EQ(s.Step().size(), 1u) << "the others wait for the system prompt";
  EXPECT_EQ(s.Step().size(), 5u);
  s.Run();
  EXPECT_EQ(s.scheduler.counts().prompt_tokens, 150 + 20 + 21 + 22 + 23 + 24)
      << "also of the third, cut page";
  EXPECT_EQ(s.scheduler.counts().shared_tokens, 4 * 150);
}

TEST(Scheduler, DoesNotWaitForLessThanAPage) {
  const Tokens system = Random(50, 9);
  Simulation s({.pages = 60, .max_batch = 8});
  for (uint64_t i = 0; i < 5; ++i) s.work.Add(Joined(system, Random(20, i)), 1, 4);
  EXPECT_EQ(s.Step().size(), 5u);
}

TEST(Scheduler, ReservesNothingForWhatIsNotSampledYet) {
  Simulation s({.pages = 20, .max_batch = 8});
  for (uint64_t i = 0; i < 8; ++i) s.work.Add(Random(10, i), 1, 1000);
  EXPECT_EQ(s.Step().size(), 8u) << "each would need 16 pages to its end";
}

TEST(Scheduler, TheOneThatCameLastGivesUpItsPagesAndIsComputedAgain) {
  Simulation s({.pages = 4, .max_batch = 8});
  s.work.Add(Random(60, 1), 1, 130);
  s.work.Add(Random(60, 2), 1, 130);
  s.Run();
  EXPECT_EQ(s.finished, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(s.scheduler.counts().preemptions, 1);
  EXPECT_EQ(s.scheduler.counts().prompt_tokens, 120);
  EXPECT_EQ(s.scheduler.counts().recomputed_tokens, 128 - 60) << "its prompt was still there";
  for (const Sequence& sequence : s.work.sequences()) EXPECT_TRUE(sequence.pages.empty());
}

TEST(Scheduler, GivesUpASequenceInTheMiddleOfItsPrompt) {
  Simulation s({.pages = 6, .max_batch = 8, .prefill_tokens = 2});
  s.work.Add(Random(8, 1), 1, 300);
  for (int i = 0; i < 50; ++i) s.Step();  // 58 positions of its first page
  s.work.Add(Random(250, 2), 1, 5);
  Sequence& prefilling = s.work.sequences()[1];
  int64_t most = 0;
  while (s.scheduler.counts().preemptions == 0) {
    most = std::max(most, prefilling.computed);
    s.Step();
  }
  EXPECT_GT(most, 8);
  EXPECT_LT(most, 250);
  EXPECT_TRUE(prefilling.pages.empty());
  s.Run();
  EXPECT_EQ(s.finished, (std::vector<int64_t>{1, 2}));
}

TEST(Scheduler, ALongPromptDoesNotHoldUpThoseThatDecode) {
  Simulation s({.pages = 100, .max_batch = 8, .prefill_tokens = 16});
  s.work.Add(Random(10, 1), 1, 60);
  s.Step();
  s.work.Add(Random(500, 2), 1, 2);
  for (int i = 0; i < 30; ++i) {
    const std::vector<Scheduler::Rows> plan = s.Step();
    ASSERT_EQ(plan.size(), 2u);
    EXPECT_EQ(plan[0].sequence->id, 1) << "those that decode come first";
    EXPECT_EQ(plan[0].count, 1);
    EXPECT_EQ(plan[1].count, 16);
  }
}

TEST(Scheduler, UnusedPrefixesGiveWayTheOneNotAskedForTheLongestFirst) {
  Simulation s({.pages = 7, .max_batch = 1});
  const Tokens a = Random(100, 1), b = Random(100, 2), c = Random(100, 3), d = Random(100, 4);
  for (const Tokens& tokens : {a, b, c, a, d}) {  // two pages each; d takes one of b's
    s.work.Add(tokens, 1, 1);
    s.Run();
  }
  const int64_t computed = s.scheduler.counts().prompt_tokens;
  EXPECT_EQ(computed, 401) << "of the second a its last token alone";
  for (const Tokens& tokens : {a, c, d}) s.work.Add(tokens, 1, 1);
  s.Run();
  EXPECT_EQ(s.scheduler.counts().prompt_tokens - computed, 3);
  s.work.Add(b, 1, 1);
  s.Run();
  EXPECT_EQ(s.scheduler.counts().prompt_tokens - computed, 103);
}

TEST(Scheduler, NothingComputedOutlivesItsWeights) {
  Simulation s({.pages = 40, .max_batch = 8});
  s.work.Add(Random(100, 1), 3, 50);
  for (int i = 0; i < 10; ++i) s.Step();
  s.scheduler.WeightsChanged();
  for (const Sequence& sequence : s.work.sequences()) {
    EXPECT_EQ(sequence.computed, 0);
    EXPECT_EQ(sequence.trajectory.tokens.size(), 10u);
  }
  s.Run();
  EXPECT_EQ(s.scheduler.counts().preemptions, 0) << "the cache was large enough";
  EXPECT_GT(s.scheduler.counts().recomputed_tokens, 100);
  const int64_t computed = s.scheduler.counts().prompt_tokens;
  s.scheduler.WeightsChanged();
  s.work.Add(Random(100, 1), 1, 1);
  s.Run();
  EXPECT_EQ(s.scheduler.counts().prompt_tokens, computed + 100);
}

TEST(Scheduler, APausedSequenceKeepsItsPagesUntilTheyAreNeeded) {
  for (const int64_t pages : {100, 4}) {
    Simulation s({.pages = pages, .max_batch = 8});
    s.pause_finished = true;
    Sequence* const paused = s.work.Add(Random(100, 1), 1, 5)[0];
    s.Run();
    EXPECT_EQ(paused->pages.size(), 2u);
    s.work.Add(Random(150, 2), 1, 5);
    s.Run();
    EXPECT_EQ(paused->pages.size(), pages == 100 ? 2u : 0u);
    const auto before = s.scheduler.counts();
    s.finished.clear();
    const Tokens given = Random(30, 3);
    paused->trajectory.tokens.insert(paused->trajectory.tokens.end(), given.begin(), given.end());
    s.scheduler.Add(paused);
    s.Run();
    EXPECT_EQ(s.finished, std::vector<int64_t>{1});
    EXPECT_EQ(s.scheduler.counts().recomputed_tokens - before.recomputed_tokens > 0, pages == 4);
  }
}

// Prompts that begin alike in all ways, caches that hold little more than the longest, every order of
// arrival.
TEST(Scheduler, EverySequenceFindsInItsPagesWhatItWouldHaveComputed) {
  int64_t preemptions = 0, shared = 0, accepted = 0;
  for (uint64_t seed = 0; seed < 25; ++seed) {
    SCOPED_TRACE(seed);
    RandomStream random(seed, Purpose::kShuffle);
    const auto below = [&](int64_t n) { return static_cast<int64_t>(random.NextBelow(n)); };
    Simulation s({.pages = 7 + below(1 + static_cast<int64_t>(seed)),
                  .max_batch = 1 + below(12),
                  .prefill_tokens = 1 + below(200),
                  .draft_tokens = 9 * below(2)});
    s.vocabulary = 2 + below(2);
    size_t wanted = 0;
    for (int burst = 0; burst < 4; ++burst) {
      for (int i = 0; i < 6; ++i) {
        const Tokens beginning = Joined(Random(below(3) * 64, 1), Random(below(3) * 31, below(2)));
        const int samples = static_cast<int>(1 + below(5));
        s.work.Add(Joined(beginning, Random(1 + below(90), below(4))), samples, 1 + below(150));
        wanted += samples;
      }
      for (int64_t steps = below(80); steps > 0; --steps) s.Step();
      if (below(3) == 0) s.scheduler.WeightsChanged();
    }
    s.Run();
    EXPECT_EQ(s.finished.size(), wanted);
    preemptions += s.scheduler.counts().preemptions;
    shared += s.scheduler.counts().shared_tokens;
    accepted += s.scheduler.counts().accepted_tokens;
  }
  EXPECT_GT(preemptions, 50);
  EXPECT_GT(shared, 5'000);
  EXPECT_GT(accepted, 500);
}

}  // namespace
}  // namespace temper
