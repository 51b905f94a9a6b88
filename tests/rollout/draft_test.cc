// SPDX-License-Identifier: Apache-2.0
// Drafts: what is drafted, and that samples with drafts are those without, bit for bit.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rollout/drafter.h"
#include "tests/rollout/samples.h"

namespace temper {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Drafter DrafterOf(const std::vector<int32_t>& tokens) {
  Drafter drafter;
  for (int32_t token : tokens) drafter.Append(token);
  return drafter;
}

TEST(Drafter, DraftsWhatFollowedTheLastTokensBefore) {
  EXPECT_THAT(DrafterOf({1, 2, 3, 4, 5, 1, 2, 3}).Draft(2), ElementsAre(4, 5));
  EXPECT_THAT(DrafterOf({1, 2, 3, 7, 1, 2, 3, 8, 1, 2, 3}).Draft(1), ElementsAre(8)) << "the latest time";
  EXPECT_THAT(DrafterOf({1, 2, 3, 7, 2, 3, 8, 1, 2, 3}).Draft(1), ElementsAre(7)) << "three tokens alike";
  EXPECT_THAT(DrafterOf({2, 3, 7, 3, 8, 2, 3}).Draft(1), ElementsAre(7)) << "two";
  EXPECT_THAT(DrafterOf({3, 7, 5, 3}).Draft(2), IsEmpty()) << "one is too few";
  EXPECT_THAT(DrafterOf({1, 2, 3, 4}).Draft(4), IsEmpty());
  EXPECT_THAT(DrafterOf({}).Draft(4), IsEmpty());
  EXPECT_THAT(DrafterOf({6, 6, 6}).Draft(0), IsEmpty());
}

TEST(Drafter, APeriodGoesOnBehindTheEnd) {
  Drafter drafter = DrafterOf({9, 4, 5, 4, 5});
  EXPECT_THAT(drafter.Draft(2), ElementsAre(4, 5));
  drafter.Judge(2, 2);
  EXPECT_THAT(drafter.Draft(64), ElementsAre(4, 5, 4, 5)) << "longer after one that was right";
  EXPECT_THAT(DrafterOf({6, 6, 6}).Draft(2), ElementsAre(6, 6));
}

TEST(Drafter, DraftsLessWhereItIsWrong) {
  Drafter drafter = DrafterOf({6, 6, 6});
  for (int i = 0; i < 4; ++i) {
    const auto drafted = static_cast<int64_t>(drafter.Draft(64).size());
    EXPECT_EQ(drafted, 2 << i);
    drafter.Judge(drafted, drafted);
  }
  drafter.Judge(32, 4);
  EXPECT_EQ(drafter.Draft(64).size(), 5u) << "one more than was right";
  std::vector<int> left_out;
  for (int i = 0; i < 9; ++i) {
    drafter.Judge(1, 0);
    left_out.push_back(0);
    while (drafter.Draft(64).empty()) ++left_out.back();
  }
  EXPECT_THAT(left_out, ElementsAre(0, 0, 0, 0, 1, 3, 7, 15, 15));
  drafter.Judge(1, 1);
  EXPECT_EQ(drafter.Draft(64).size(), 2u);
}

// Prompts that repeat a period, which differs from one to the next.
std::vector<Prompt> Repeating(const std::vector<int64_t>& lengths) {
  std::vector<Prompt> prompts = Prompts(lengths);
  for (size_t p = 0; p < prompts.size(); ++p) {
    const size_t period = 1 + 4 * p;
    for (size_t i = period; i < prompts[p].tokens.size(); ++i)
      prompts[p].tokens[i] = prompts[p].tokens[i - period];
  }
  return prompts;
}

// Options whose samples repeat themselves: of few tokens, of which some end a sample.
SamplingOptions FewTokens(float temperature, int top_k, int64_t max_new_tokens = 90) {
  SamplingOptions options = Options(temperature, max_new_tokens);
  options.parameters.top_k = top_k;
  return options;
}

struct Settings {
  const char* name;
  SamplingOptions options;
};

std::vector<Settings> AllSettings() {
  std::vector<Settings> all = {{"greedy", Options(0, 90)},
                               {"T 0.6, top-k 2", FewTokens(0.6f, 2)},
                               {"T 1, top-k 3", FewTokens(1, 3)},
                               {"T 1", Options(1, 90)}};
  all.push_back({"T 0.7, top-p 0.1", FewTokens(0.7f, 0)});
  all.back().options.parameters.top_p = 0.1f;
  all.push_back({"a minimum", FewTokens(1, 2)});
  all.back().options.min_new_tokens = 70;
  for (int32_t id = 0; id < 250; ++id) all.back().options.stop_ids.push_back(id);
  return all;
}

TEST(Drafts, SamplesAreThoseWithoutDraftsBitForBit) {
  const std::vector<Prompt> prompts = Repeating({1, 40, 63, 100});
  for (Json (*json)() : {OddDeepseek, OddQwen2, OddWindows, OddQwen3Moe}) {
    Policy policy(json(), 1), other(json(), 3);
    const int64_t page = KvCache::BytesPerPage(policy.model.config());
    int64_t preemptions = 0;
    for (const auto& [name, options] : AllSettings()) {
      SCOPED_TRACE(name);
      Engine plain(&policy.model, {.max_batch = 3});
      const Outcomes expected = Sampled(plain, Requests(prompts, 2), options);
      EngineCounts counts;
      int64_t drafted = 0, accepted = 0;
      // The longest takes three pages.
      for (const EngineOptions& with : {EngineOptions{.max_batch = 1, .draft_tokens = 8},
                                        {.max_batch = 2, .prefill_tokens = 7, .draft_tokens = 3},
                                        {.max_batch = 5, .draft_tokens = 64},
                                        {.max_batch = 8, .draft_tokens = 1},
                                        {.max_batch = 9, .draft_tokens = 8, .cache_bytes = 4 * page},
                                        {.max_batch = 3, .draft_tokens = 64, .cache_bytes = 5 * page}}) {
        Engine engine(with.max_batch > 2 ? &policy.model : &other.model, with);
        EXPECT_EQ(Sampled(engine, Requests(prompts, 2), options, &counts), expected);
        EXPECT_LE(counts.accepted_tokens, counts.drafted_tokens);
        drafted += counts.drafted_tokens;
        accepted += counts.accepted_tokens;
        preemptions += counts.preemptions;
      }
      // Samples of all tokens at T = 1 hardly ever say again what they said.
      if (options.parameters.top_k > 0) {
        EXPECT_GT(drafted, accepted) << "some were wrong";
      }
      EXPECT_GT(accepted, options.parameters.temperature == 0 ? 30 : -1);
      EXPECT_GT(accepted + (options.parameters.top_k == 0), 0);
    }
    EXPECT_GT(preemptions, 5);
  }
}

// A random module is often wrong, at T = 0 it is right at times. Prompts that share their beginning, up to
// the edge of a page and beyond; few pages, so that sequences give them up; new weights; prefill in pieces.
TEST(Drafts, OfAnMtpModuleSamplesAreThoseWithoutDraftsBitForBit) {
  std::vector<Prompt> prompts = Repeating({1, 40, 63, 64, 65, 100});
  for (const int p : {2, 3, 4}) std::copy_n(prompts[5].tokens.begin(), 60 + p, prompts[p].tokens.begin());
  for (const Json& json : {OddMtp(), With(OddMtp(), "tie_word_embeddings", true)}) {
    Policy policy(json, 1), other(json, 3);
    const int64_t page = KvCache::BytesPerPage(policy.model.config());
    int64_t preemptions = 0, drafted = 0, accepted = 0;
    for (const auto& [name, options] : AllSettings()) {
      SCOPED_TRACE(name);
      Engine plain(&policy.model, {.max_batch = 3});
      const Outcomes expected = Sampled(plain, Requests(prompts, 2), options);
      EngineCounts counts;
      for (const EngineOptions& with :
           {EngineOptions{.max_batch = 1, .draft_tokens = 1, .mtp = true, .paced = false},
            {.max_batch = 2, .prefill_tokens = 7, .draft_tokens = 3, .mtp = true},
            {.max_batch = 5, .draft_tokens = 64, .mtp = true, .paced = false},
            {.max_batch = 9, .draft_tokens = 8, .mtp = true, .paced = false, .cache_bytes = 4 * page},
            {.max_batch = 3, .draft_tokens = 8, .mtp = true, .paced = false, .cache_bytes = 5 * page}}) {
        Engine engine(with.max_batch > 2 ? &policy.model : &other.model, with);
        EXPECT_EQ(Sampled(engine, Requests(prompts, 2), options, &counts), expected);
        EXPECT_LE(counts.accepted_tokens, counts.drafted_tokens);
        drafted += counts.drafted_tokens;
        accepted += counts.accepted_tokens;
        preemptions += counts.preemptions;
      }
    }
    EXPECT_GT(preemptions, 5);
    EXPECT_GT(accepted, 0);
    EXPECT_GT(drafted, accepted);
  }
}

// Memory that nobody wrote has no numbers, and logits have nothing else.
class PoisonedMemory : public kernels::CpuBackend {
 public:
  using CpuBackend::CpuBackend;
  std::shared_ptr<void> Allocate(int64_t bytes) override {
    std::shared_ptr<void> memory = CpuBackend::Allocate(bytes);
    std::memset(memory.get(), 0xff, bytes);
    return memory;
  }
  void Sample(const kernels::SampleTask& task) override {
    for (int64_t row = 0; row < task.logits.rows; ++row)
      EXPECT_FALSE(std::isnan(task.logits.Row(row)[row % task.logits.cols]));
    CpuBackend::Sample(task);
  }
};

// Whatever a prefix was computed for, and however far its owner came: the module reads keys that somebody
// wrote.
TEST(Drafts, OfAnMtpModuleReadNoKeyThatNobodyWrote) {
  ThreadPool pool(2);
  PoisonedMemory backend(&pool);
  CausalLm model(Parsed(OddMtp()), RandomParameters(Parsed(OddMtp())), &backend);
  std::vector<Prompt> prompts = Prompts({64, 64, 65, 128, 129, 70});
  for (size_t p = 1; p < prompts.size(); ++p)
    std::copy_n(prompts[0].tokens.begin(), 64, prompts[p].tokens.begin());
  SamplingOptions options = Options(1, 1);
  Engine plain(&model, {.max_batch = 2});
  Engine engine(&model, {.max_batch = 2, .draft_tokens = 1, .mtp = true, .paced = false});
  // Beside so many sequences the module is left out until few are left.
  Engine wide(&model, {.max_batch = 12, .draft_tokens = 1, .mtp = true, .paced = false});
  for (const int64_t tokens : {1, 2, 40}) {
    options.max_new_tokens = tokens;
    const Outcomes expected = Sampled(plain, Requests(prompts, 2), options);
    EXPECT_EQ(Sampled(engine, Requests(prompts, 2), options), expected);
    EngineCounts counts;
    EXPECT_EQ(Sampled(wide, Requests(prompts, 2), options, &counts), expected);
    EXPECT_EQ(counts.drafted_tokens > 0, tokens == 40);
  }
}

TEST(Drafts, OfAnMtpModuleAreMadeWhereTheCacheHasRoomForFewHoweverManyWait) {
  Policy policy(OddMtp());
  SamplingOptions options = Options(1, 1);
  options.max_new_tokens = 20;
  std::vector<int64_t> lengths(24);
  std::iota(lengths.begin(), lengths.end(), 70);
  const std::vector<Prompt> prompts = Prompts(lengths);
  Engine plain(&policy.model, {.max_batch = 2});
  Engine engine(&policy.model, {.max_batch = 24,
                                .draft_tokens = 1,
                                .mtp = true,
                                .paced = false,
                                .cache_bytes = 6 * KvCache::BytesPerPage(policy.model.config())});
  EngineCounts counts;
  EXPECT_EQ(Sampled(engine, Requests(prompts, 1), options, &counts),
            Sampled(plain, Requests(prompts, 1), options));
  EXPECT_GT(2 * counts.drafted_tokens, counts.sampled_tokens);
}

// Rows of the module that wait, and are computed together, as where steps were made without it.
TEST(Drafts, OfAnMtpModuleThatRunsLaterHaveTheSameLogits) {
  Policy policy(OddMtp());
  DecodePass& pass = policy.model.decode_pass();
  const std::vector<int32_t> tokens = RandomTokens(711, 70, 1), pages = {1, 0};
  const int64_t rows = 69, vocabulary = 711;
  const auto logits = [&](const std::vector<int64_t>& pieces) {
    const KvCache cache(policy.model.config(), 2, *policy.backend);
    pass.Forward({.tokens = tokens, .sequences = {{70, 0, pages}}}, cache, {}, /*drafts=*/true);
    std::vector<float> all;
    int64_t at = 0;
    for (const int64_t piece : pieces) {
      TokenBatch batch{.sequences = {{piece, at, pages}}};
      std::vector<int32_t> last;
      for (int64_t i = 0; i < piece; ++i) {
        batch.tokens.push_back(tokens[++at]);
        last.push_back(static_cast<int32_t>(i));
      }
      const Matrix got = pass.ForwardMtp(batch, cache, last);
      all.insert(all.end(), got.f32(), got.f32() + piece * vocabulary);
    }
    return all;
  };
  const std::vector<float> together = logits({rows});
  EXPECT_EQ(together.size(), rows * vocabulary);
  EXPECT_EQ(logits(std::vector<int64_t>(rows, 1)), together);
  EXPECT_EQ(logits({60, 7, 2}), together);
}

// Steps of so many sequences, which take so many seconds with drafts and without, for a token and a half with
// them: how many of the last `of` had drafts.
int64_t Drafted(DraftPace& pace, int64_t sequences, double with, double without, int64_t of) {
  int64_t drafted = 0;
  for (int64_t i = 0; i < of; ++i) {
    const bool drafts = pace.Drafts(sequences);
    drafted += drafts ? 1 : 0;
    const double held_up = i % 5 == 1 ? 100 : 1;  // now and then, as on a busy machine
    pace.Took(
        {sequences, drafts, held_up * (drafts ? with : without), drafts ? 3 * sequences : 2 * sequences});
  }
  return drafted;
}

TEST(DraftPace, TakesTheWayThatIsFasterATokenAndTriesTheOtherNowAndThen) {
  DraftPace pace;
  EXPECT_EQ(Drafted(pace, 1, 1.4, 1, 9), 9) << "a first try";
  EXPECT_EQ(Drafted(pace, 1, 1.4, 1, 9), 0);
  EXPECT_GT(Drafted(pace, 1, 1.4, 1, 4000), 3900);
  EXPECT_LT(Drafted(pace, 1, 1.6, 1, 4000), 2500) << "it is slower now";
  EXPECT_LT(Drafted(pace, 1, 1.6, 1, 4000), 100);
  EXPECT_GT(Drafted(pace, 4, 1.4, 1, 4000), 3800) << "of other numbers of sequences it knows nothing yet";
  EXPECT_FALSE(pace.Drafts(DraftPace::kMostSequences + 1));
}

TEST(Drafts, TextThatRepeatsItselfTakesFewPasses) {
  const std::vector<Prompt> prompts = Repeating({1, 40});
  SamplingOptions options = Options(0, 200);
  options.ignore_eos = true;
  Policy policy(OddQwen2());
  EngineCounts plain, with;
  Engine without(&policy.model, {.max_batch = 1}), engine(&policy.model, {.max_batch = 1, .draft_tokens = 8});
  EXPECT_EQ(Sampled(engine, Requests(prompts, 1), options, &with),
            Sampled(without, Requests(prompts, 1), options, &plain));
  EXPECT_EQ(with.steps + with.accepted_tokens, plain.steps);
  EXPECT_LT(3 * with.steps, plain.steps);
  EXPECT_EQ(plain.drafted_tokens, 0);
  EXPECT_THAT(DraftText(with),
              ::testing::HasSubstr(std::to_string(with.drafted_tokens) + " tokens were drafted"));
}

TEST(Drafts, AWideBatchHasNone) {
  const std::vector<Prompt> prompts = Repeating({40});
  SamplingOptions options = Options(0, 30);
  options.ignore_eos = true;
  Policy policy(OddQwen2());
  Engine engine(&policy.model, {.max_batch = 64, .draft_tokens = 8});
  EngineCounts counts;
  Sampled(engine, Requests(prompts, 8), options, &counts);
  EXPECT_EQ(counts.drafted_tokens, 0);
  Sampled(engine, Requests(prompts, 7), options, &counts);
  EXPECT_GT(counts.drafted_tokens, 0) << "a row is left";
}

// Where a sample may end, every place is tried: by length, by a stop id, by the end token and by a stop text.
TEST(Drafts, WhatEndsASampleEndsItAmongDrafts) {
  const std::vector<Prompt> prompts = Repeating({1, 30});
  auto tokenizer = Tokenizer::Load("configs/tiny/base");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  SamplingOptions options = FewTokens(1, 2, 60);
  options.eos_ids.clear();
  options.tokenizer = tokenizer->get();
  Policy policy(OddQwen2());
  Engine plain(&policy.model, {.max_batch = 1}), engine(&policy.model, {.max_batch = 2, .draft_tokens = 8});
  const Outcomes whole = Sampled(plain, Requests(prompts, 2), options);
  int64_t accepted = 0;
  std::map<StopReason, int> ends;
  const auto compare = [&](const SamplingOptions& changed) {
    EngineCounts counts;
    const Outcomes outcomes = Sampled(engine, Requests(prompts, 2), changed, &counts);
    EXPECT_EQ(outcomes, Sampled(plain, Requests(prompts, 2), changed));
    accepted += counts.accepted_tokens;
    for (const auto& [name, outcome] : outcomes) ++ends[StopOf(outcome)];
  };
  for (size_t at = 20; at < 60; ++at) {
    SamplingOptions changed = options;
    changed.max_new_tokens = static_cast<int64_t>(at);
    compare(changed);
    const absl::Span<const int32_t> tokens = TokensOf(whole.at({"p1", 0}));
    changed = options;
    changed.min_new_tokens = static_cast<int64_t>(at);
    changed.eos_ids = {tokens[at]};
    compare(changed);
    std::swap(changed.eos_ids, changed.stop_ids);
    compare(changed);
    changed.stop_ids.clear();
    changed.stop_strings = {(*tokenizer)->Decode(tokens.subspan(at - 1, 2), false)};
    if (!changed.stop_strings[0].empty()) compare(changed);
  }
  EXPECT_GT(accepted, 500);
  EXPECT_GT(ends[StopReason::kEndOfText], 20);
  EXPECT_GT(ends[StopReason::kStopString], 40);
}

TEST(Drafts, ASampleThatEndedAmongThemGoesOn) {
  const std::vector<Prompt> prompts = Repeating({1, 30});
  const std::vector<int32_t> given = RandomTokens(711, 5, 4);
  Policy policy(OddMtp());
  const int64_t page = KvCache::BytesPerPage(policy.model.config());
  SamplingOptions options = FewTokens(1, 2, 120);
  options.eos_ids.clear();
  for (int32_t id = 0; id < 711; id += 9) options.stop_ids.push_back(id);
  const auto sampled = [&](const EngineOptions& with, EngineCounts* counts) {
    std::vector<SampleRequest> requests = Requests(prompts, 2);
    Engine engine(&policy.model, with);
    for (SampleRequest& request : requests) {
      request.sampling = &options;
      request.may_continue = true;
      EXPECT_TRUE(engine.Submit(request).ok());
    }
    Outcomes outcomes;
    int continued = 0;
    while (!engine.idle()) {
      engine.Step();
      for (const FinishedSample& sample : engine.Take()) {
        const Trajectory& t = sample.trajectory;
        outcomes[{t.prompt_id, t.sample}] = {t.tokens, t.logprobs, t.stop, t.entropy_sum, t.segments};
        if (t.stop != StopReason::kStopString) continue;
        EXPECT_TRUE(engine.Continue(sample.sequence, given).ok());
        ++continued;
      }
    }
    EXPECT_GT(continued, 3);
    *counts = engine.TakeCounts();
    return outcomes;
  };
  EngineCounts counts;
  const Outcomes expected = sampled({.max_batch = 4}, &counts);
  for (int64_t pages : {100, 6}) {
    EXPECT_EQ(sampled({.max_batch = 4, .draft_tokens = 8, .cache_bytes = pages * page}, &counts), expected);
    EXPECT_GT(counts.accepted_tokens, 0);
    EXPECT_EQ(
        sampled({.max_batch = 4, .draft_tokens = 8, .mtp = true, .paced = false, .cache_bytes = pages * page},
                &counts),
        expected);
    EXPECT_GT(counts.drafted_tokens, 0);
  }
}

}  // namespace
}  // namespace temper
