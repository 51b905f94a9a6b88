// SPDX-License-Identifier: Apache-2.0
// The engine step by step: memory pressure, shared prefixes, weights that change, samples that go on.
#include "core/check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/rollout/samples.h"

namespace temper {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Samples of as many tokens as asked for.
SamplingOptions Endless(int64_t max_new_tokens) {
  SamplingOptions options = Options(1, max_new_tokens);
  options.ignore_eos = true;
  return options;
}

// Every sample asked for by itself, of an engine with room for it.
Outcomes Alone(CausalLm& model, const std::vector<SampleRequest>& requests, const SamplingOptions& options) {
  Engine engine(&model, {.max_batch = 1});
  Outcomes outcomes;
  for (const SampleRequest& request : requests) {
    for (int32_t sample : request.samples) {
      SampleRequest one = request;
      one.samples = {sample};
      outcomes.merge(Sampled(engine, {one}, options));
    }
  }
  return outcomes;
}

TEST(EngineMemory, SamplesThatGaveUpTheirPagesGoOnWithTheSameBits) {
  const std::vector<Prompt> prompts = Prompts({1, 30, 63, 100, 2});
  const std::vector<SampleRequest> requests = Requests(prompts, 3);
  const SamplingOptions options = Endless(150);
  for (Json (*json)() : {OddDeepseek, OddQwen2, OddWindows}) {
    Policy single(json(), 1);
    const Outcomes expected = Alone(single.model, requests, options);
    const int64_t page = KvCache::BytesPerPage(single.model.config());
    int threads = 0;
    // The longest takes 4 pages.
    for (const EngineOptions& tight : {EngineOptions{.max_batch = 65, .cache_bytes = 4 * page},
                                       {.max_batch = 65, .prefill_tokens = 7, .cache_bytes = 9 * page},
                                       {.max_batch = 4, .prefill_tokens = 1, .cache_bytes = 6 * page},
                                       {.max_batch = 10, .prefill_tokens = 64, .cache_bytes = 15 * page}}) {
      Policy policy(json(), ++threads % 3 + 1);
      Engine engine(&policy.model, tight);
      EngineCounts counts;
      EXPECT_EQ(Sampled(engine, requests, options, &counts), expected);
      EXPECT_GT(counts.preemptions, 0);
      EXPECT_GT(counts.recomputed_tokens, 0);
      EXPECT_THAT(PreemptionText(counts), HasSubstr(std::to_string(counts.preemptions) + " times a sample"));
    }
  }
}

TEST(EngineMemory, BatchesOfEverySizeSampleTheSame) {
  const std::vector<Prompt> prompts = Prompts({1, 1, 3, 17, 64}, 37);
  const std::vector<SampleRequest> requests = Requests(prompts, 13);
  const SamplingOptions options = Endless(6);
  Policy policy(TinyDeepseek());
  const Outcomes expected = Alone(policy.model, requests, options);
  for (int64_t batch = 1; batch <= 65; ++batch) {
    Engine engine(&policy.model, {.max_batch = batch, .prefill_tokens = 1 + batch % 20});
    EXPECT_EQ(Sampled(engine, requests, options), expected) << batch;
  }
}

TEST(EngineMemory, LongContextsAreComputedAgainOverTheirSplits) {
  const std::vector<Prompt> prompts = Prompts({2100, 5, 1020});
  const std::vector<SampleRequest> requests = Requests(prompts, 2);
  const SamplingOptions options = Endless(70);
  Policy policy(OddDeepseek());
  const Outcomes expected = Alone(policy.model, requests, options);
  const int64_t page = KvCache::BytesPerPage(policy.model.config());
  Engine engine(&policy.model, {.max_batch = 8, .prefill_tokens = 300, .cache_bytes = 35 * page});
  EngineCounts counts;
  EXPECT_EQ(Sampled(engine, requests, options, &counts), expected);
  EXPECT_GT(counts.preemptions, 0);
}

TEST(EngineMemory, RefusesASampleThatTheCacheCannotHoldWithItsSizes) {
  const std::vector<Prompt> prompts = Prompts({100});
  Policy policy(OddDeepseek());
  const int64_t page = KvCache::BytesPerPage(policy.model.config());
  Engine engine(&policy.model, {.cache_bytes = 2 * page + 1});
  EXPECT_TRUE(engine.Check(prompts[0], Endless(29)).ok());
  EXPECT_THAT(std::string(engine.Check(prompts[0], Endless(30)).message()),
              HasSubstr("prompt p1: 100 tokens and max_new_tokens 30 need 3 pages of the cache, "));
  EXPECT_EQ(Sampled(engine, Requests(prompts, 2), Endless(29)).size(), 2u)
      << "the last page to its last place";
  EXPECT_FALSE(Engine(&policy.model, {.cache_bytes = 0}).Check(prompts[0], Endless(1)).ok());
}

TEST(EnginePrefixes, WhatAnotherPromptBeginsWithIsComputedOnce) {
  std::vector<Prompt> prompts = Prompts({20, 1, 33, 64});
  const std::vector<int32_t> system = RandomTokens(711, 150, 99);
  for (Prompt& prompt : prompts) prompt.tokens.insert(prompt.tokens.begin(), system.begin(), system.end());
  const std::vector<SampleRequest> requests = Requests(prompts, 3);
  Policy policy(OddDeepseek());
  const Outcomes expected = Alone(policy.model, requests, Options());
  for (int64_t prefill : {1024, 10}) {
    Engine engine(&policy.model, {.max_batch = 12, .prefill_tokens = prefill});
    EngineCounts counts;
    EXPECT_EQ(Sampled(engine, requests, Options(), &counts), expected);
    EXPECT_EQ(counts.prompt_tokens, 150 + 20 + 1 + 33 + 64);
    EXPECT_EQ(Sampled(engine, requests, Options(), &counts), expected);
    EXPECT_EQ(counts.prompt_tokens, 12) << "the last token for each sample, for its logits";
  }
}

// The trajectory's logprobs, each of the weights that its segment names.
void ExpectTheLogprobsOf(CausalLm& model, const Prompt& prompt, const FinishedSample& sample,
                         int64_t version) {
  const Trajectory& t = sample.trajectory;
  std::vector<int32_t> tokens = prompt.tokens;
  tokens.insert(tokens.end(), t.tokens.begin(), t.tokens.end());
  const std::vector<float> all = PackedLogprobs(model, {tokens}, 1);
  EXPECT_EQ(t.length(), static_cast<int64_t>(t.tokens.size()));
  EXPECT_EQ(t.sampled(), static_cast<int64_t>(t.logprobs.size()));
  const std::vector<std::optional<float>> logprobs = LogprobsByToken(t);
  int64_t compared = 0;
  for (const Segment& segment : t.segments) {
    if (segment.kind == Segment::Kind::kGiven || segment.policy_version != version) continue;
    for (int64_t at = segment.first; at < segment.end(); ++at, ++compared)
      EXPECT_EQ(logprobs[at], all[prompt.tokens.size() + at - 1]) << at;
  }
  EXPECT_GT(compared, 0);
}

TEST(EngineSwap, SamplesOnTheirWayGoOnWithTheNewWeightsAlone) {
  const std::vector<Prompt> prompts = Prompts({70, 5, 200});
  const SamplingOptions options = Endless(20);
  std::vector<SampleRequest> requests = Requests(prompts, 2);
  for (SampleRequest& request : requests) request.sampling = &options;
  Policy before(OddDeepseek()), policy(OddDeepseek());
  Engine engine(&policy.model, {.max_batch = 5, .prefill_tokens = 90});
  for (const SampleRequest& request : requests) ASSERT_TRUE(engine.Submit(request).ok());
  for (int i = 0; i < 8; ++i) engine.Step();
  for (Parameter& parameter : policy.model.parameters().list()) parameter.value.mul_(1.25);
  policy.model.WeightsChanged(6);
  EXPECT_THROW(engine.Step(), InternalError) << "nobody told it";
  engine.Swap(6);
  std::vector<FinishedSample> finished;
  while (!engine.idle()) {
    engine.Step();
    for (FinishedSample& sample : engine.Take()) finished.push_back(std::move(sample));
  }
  ASSERT_EQ(finished.size(), 6u);
  int both = 0, late = 0;
  for (const FinishedSample& sample : finished) {
    const Trajectory& t = sample.trajectory;
    const Prompt& prompt = prompts[t.prompt_id[1] - '1'];
    EXPECT_EQ(t.length(), 20);
    EXPECT_EQ(t.segments.back().policy_version, 6);
    if (t.segments.size() == 1) {
      ExpectTheLogprobsOf(policy.model, prompt, sample, 6);
      ++late;
      continue;
    }
    ASSERT_EQ(t.segments.size(), 2u);
    EXPECT_EQ(t.segments[0].policy_version, 0);
    ExpectTheLogprobsOf(before.model, prompt, sample, 0);
    ExpectTheLogprobsOf(policy.model, prompt, sample, 6);
    ++both;
  }
  EXPECT_GT(both, 0);
  EXPECT_GT(late, 0) << "one had to wait for its slot";
}

TEST(EngineContinue, WhatIsGivenIsASegmentAndTheSampleGoesOnAfterIt) {
  const std::vector<Prompt> prompts = Prompts({70, 5});
  const SamplingOptions options = Options(1, 60);
  std::vector<SampleRequest> requests = Requests(prompts, 3);
  for (SampleRequest& request : requests) {
    request.sampling = &options;
    request.may_continue = true;
  }
  const std::vector<int32_t> given = RandomTokens(711, 90, 4);
  Policy policy(OddDeepseek());
  const int64_t page = KvCache::BytesPerPage(policy.model.config());
  std::map<std::pair<std::string, int32_t>, FinishedSample> first;
  for (const int64_t pages : {100, 5}) {  // with their pages, and computed again
    Engine engine(&policy.model, {.max_batch = 4, .cache_bytes = pages * page});
    for (const SampleRequest& request : requests) ASSERT_TRUE(engine.Submit(request).ok());
    std::map<std::pair<std::string, int32_t>, FinishedSample> ended;
    int continued = 0;
    while (!engine.idle()) {
      engine.Step();
      for (FinishedSample& sample : engine.Take()) {
        const Trajectory& t = sample.trajectory;
        if (t.stop == StopReason::kEndOfText && t.segments.size() == 1) {
          ASSERT_TRUE(engine.Continue(sample.sequence, given).ok());
          ++continued;
          continue;
        }
        if (t.stop == StopReason::kLength) {
          EXPECT_THAT(std::string(engine.Continue(sample.sequence, given).message()),
                      HasSubstr("all 60 tokens of max_new_tokens are sampled"));
        }
        engine.Drop(sample.sequence);
        EXPECT_TRUE(ended.emplace(std::pair(t.prompt_id, t.sample), sample).second);
      }
    }
    ASSERT_EQ(ended.size(), 6u);
    EXPECT_GT(continued, 2);
    for (const auto& [name, sample] : ended) {
      const Trajectory& t = sample.trajectory;
      if (t.segments.size() == 1) continue;
      ASSERT_EQ(t.segments.size(), 3u);
      EXPECT_EQ(t.segments[1].kind, Segment::Kind::kGiven);
      EXPECT_EQ(t.segments[1].count, 90);
      EXPECT_LE(t.sampled(), 60);
      ExpectTheLogprobsOf(policy.model, prompts[t.prompt_id[1] - '1'], sample, 0);
    }
    if (first.empty()) {
      first = ended;
      EXPECT_EQ(engine.TakeCounts().recomputed_tokens, 0);
    } else {
      for (const auto& [name, sample] : ended)
        EXPECT_EQ(sample.trajectory.tokens, first.at(name).trajectory.tokens);
      EXPECT_GT(engine.TakeCounts().recomputed_tokens, 0);
    }
  }
}

TEST(EngineContinue, TheMinimumCountsForTheWholeOfIt) {
  const std::vector<Prompt> prompts = Prompts({20});
  SamplingOptions options = Options(1, 60);
  options.min_new_tokens = 8;
  std::vector<SampleRequest> requests = Requests(prompts, 12);
  requests[0].sampling = &options;
  requests[0].may_continue = true;
  Policy policy(OddDeepseek());
  Engine engine(&policy.model, {});
  ASSERT_TRUE(engine.Submit(requests[0]).ok());
  int short_turns = 0;
  while (!engine.idle()) {
    engine.Step();
    for (const FinishedSample& sample : engine.Take()) {
      EXPECT_GE(sample.trajectory.sampled(), 9);
      if (sample.trajectory.sampled() == 60) continue;
      if (sample.trajectory.segments.back().count <= 8) ++short_turns;
      ASSERT_TRUE(engine.Continue(sample.sequence, {50, 51}).ok());
    }
  }
  EXPECT_GT(short_turns, 0) << "what follows the first turn may end at once";
}

TEST(EngineContinue, RefusesWhatDoesNotFitAndKeepsTheSample) {
  const std::vector<Prompt> prompts = Prompts({200}, 37);
  SamplingOptions options;
  options.max_new_tokens = 10;
  for (int32_t id = 0; id < 37; ++id) options.eos_ids.push_back(id);
  std::vector<SampleRequest> requests = Requests(prompts, 1);
  requests[0].sampling = &options;
  requests[0].may_continue = true;
  Policy policy(TinyDeepseek());
  Engine engine(&policy.model, {});
  ASSERT_TRUE(engine.Submit(requests[0]).ok());
  while (!engine.idle()) engine.Step();
  const int64_t sequence = engine.Take().at(0).sequence;
  const auto fault = [&](const std::vector<int32_t>& tokens) {
    return std::string(engine.Continue(sequence, tokens).message());
  };
  EXPECT_THAT(fault({5, 37}), HasSubstr("token 37 is outside"));
  EXPECT_THAT(fault(std::vector<int32_t>(50, 1)), HasSubstr("251 tokens and max_new_tokens 9 exceed"));
  EXPECT_EQ(fault({1, 2}), "");
  EXPECT_THROW((void)engine.Continue(sequence, {}), InternalError) << "it is on its way";
  while (!engine.idle()) engine.Step();
  const Trajectory trajectory = engine.Take().at(0).trajectory;
  EXPECT_THAT(trajectory.segments,
              ElementsAre(Segment{0, 1, Segment::Kind::kSampled, 0}, Segment{1, 2, Segment::Kind::kGiven, 0},
                          Segment{3, 1, Segment::Kind::kSampled, 0}));
  engine.Drop(sequence);
  EXPECT_THROW(engine.Drop(sequence), InternalError);
}

TEST(EngineStep, ALateRequestJoinsThoseThatAreOnTheirWay) {
  const std::vector<Prompt> prompts = Prompts({9, 130, 40});
  const SamplingOptions options = Endless(25);
  std::vector<SampleRequest> requests = Requests(prompts, 2);
  Policy policy(OddDeepseek());
  const Outcomes expected = Alone(policy.model, requests, options);
  for (SampleRequest& request : requests) request.sampling = &options;
  Engine engine(&policy.model, {.prefill_tokens = 50});
  size_t submitted = 0, finished = 0;
  for (int step = 0; finished < 6; ++step) {
    if (step % 4 == 0 && submitted < requests.size()) ASSERT_TRUE(engine.Submit(requests[submitted++]).ok());
    engine.Step();
    for (const FinishedSample& sample : engine.Take()) {
      const Trajectory& t = sample.trajectory;
      EXPECT_EQ(sample.request->prompt->id, t.prompt_id);
      EXPECT_EQ(t.tokens, TokensOf(expected.at({t.prompt_id, t.sample})));
      EXPECT_EQ(t.logprobs, std::get<1>(expected.at({t.prompt_id, t.sample})));
      ++finished;
    }
    ASSERT_LT(step, 200);
  }
  EXPECT_TRUE(engine.idle());
}

}  // namespace
}  // namespace temper
