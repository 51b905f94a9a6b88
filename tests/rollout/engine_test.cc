// SPDX-License-Identifier: Apache-2.0
// E1 and E2 in the engine: a sample is a function of weights, prompt, options and key; its logprobs are the
// trainer's.
#include "rollout/engine.h"

#include <algorithm>
#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "rollout/stop_strings.h"
#include "tests/rollout/samples.h"

namespace temper {
namespace {

using ::testing::HasSubstr;

struct Model {
  const char* name;
  Json (*json)();
};
Json OddQwen2Bf16Cache() { return With(OddQwen2(), "temper_cache", "bf16"); }

class EngineOf : public ::testing::TestWithParam<Model> {};

const std::vector<int64_t> kLengths = {1, 5, 64, 65, 130, 63, 2, 1, 200, 17};

TEST_P(EngineOf, SamplesDoNotSeeTheScheduler) {
  const std::vector<Prompt> prompts = Prompts(kLengths);
  std::vector<SampleRequest> requests = Requests(prompts, 4);
  const SamplingOptions options = Options();

  // The reference: every sample asked for by itself.
  Policy alone(GetParam().json(), 1);
  Engine one(&alone.model, {.max_batch = 1});
  Outcomes expected;
  for (const SampleRequest& request : requests) {
    for (int32_t sample : request.samples) {
      expected.merge(Sampled(one, {{request.prompt, {sample}, request.key}}, options));
    }
  }
  ASSERT_EQ(expected.size(), 40u);
  EXPECT_GT(std::count_if(expected.begin(), expected.end(),
                          [](const auto& o) { return StopOf(o.second) == StopReason::kEndOfText; }),
            5);
  EXPECT_NE(expected.at({"p8", 0}), expected.at({"p8", 1}));

  Policy policy(GetParam().json(), 2);
  EngineCounts roomy, tight;
  Engine wide(&policy.model, {.max_batch = 65});
  EXPECT_EQ(Sampled(wide, requests, options, &roomy), expected);
  Engine narrow(&policy.model, {.max_batch = 3, .prefill_tokens = 1});
  EXPECT_EQ(Sampled(narrow, requests, options), expected);
  EXPECT_EQ(roomy.preemptions + roomy.recomputed_tokens, 0);
  // The longest sample takes 4 pages.
  const int64_t page = KvCache::BytesPerPage(policy.model.config());
  Engine cramped(&policy.model, {.max_batch = 65, .prefill_tokens = 7, .cache_bytes = 4 * page});
  EXPECT_EQ(Sampled(cramped, requests, options, &tight), expected);
  EXPECT_GT(tight.steps, 2 * roomy.steps) << "a small cache makes samples wait";
  Policy third(GetParam().json(), 3);
  std::reverse(requests.begin(), requests.end());
  Engine reversed(&third.model, {.max_batch = 7, .prefill_tokens = 30});
  EXPECT_EQ(Sampled(reversed, requests, options), expected);
}

TEST_P(EngineOf, SampledLogprobsAreTheTrainers) {
  const std::vector<Prompt> prompts = Prompts(kLengths);
  Policy policy(GetParam().json());
  Engine engine(&policy.model, {.max_batch = 9, .prefill_tokens = 50});
  for (float temperature : {0.7f, 1.0f}) {
    const Outcomes outcomes = Sampled(engine, Requests(prompts, 3), Options(temperature));
    ExpectTheTrainersLogprobs(policy.model, prompts, outcomes, temperature);
  }
  SamplingOptions truncated = Options(1.3f);
  truncated.parameters.top_k = 5;
  truncated.parameters.top_p = 0.8f;
  ExpectTheTrainersLogprobs(policy.model, prompts, Sampled(engine, Requests(prompts, 3), truncated), 1.3f);
  ExpectTheTrainersLogprobs(policy.model, prompts, Sampled(engine, Requests(prompts, 1), Options(0)), 1.0f);
}

INSTANTIATE_TEST_SUITE_P(Models, EngineOf,
                         ::testing::Values(Model{"deepseek_v3", OddDeepseek}, Model{"qwen2", OddQwen2},
                                           Model{"llama", OddLlama},
                                           Model{"qwen2_bf16_cache", OddQwen2Bf16Cache}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Engine, ComputesAGroupsPromptOnce) {
  const std::vector<Prompt> prompts = Prompts({100, 30});
  Policy policy(OddDeepseek());
  Engine engine(&policy.model, {.max_batch = 3});
  EngineCounts counts;
  int64_t tokens = 0;
  for (const auto& [name, outcome] : Sampled(engine, Requests(prompts, 16), Options(), &counts)) {
    tokens += static_cast<int64_t>(TokensOf(outcome).size());
  }
  EXPECT_EQ(counts.prompt_tokens, 130);
  EXPECT_EQ(counts.sampled_tokens, tokens);
}

TEST(Engine, SamplesOneTokenAfterPromptsOfOneToken) {
  const std::vector<Prompt> prompts = Prompts({1, 1, 64});
  Policy policy(OddDeepseek());
  Engine engine(&policy.model, {});
  const Outcomes longer = Sampled(engine, Requests(prompts, 5), Options(1, 2));
  const Outcomes outcomes = Sampled(engine, Requests(prompts, 5), Options(1, 1));
  ASSERT_EQ(outcomes.size(), 15u);
  for (const auto& [name, outcome] : outcomes) {
    EXPECT_EQ(TokensOf(outcome), std::vector<int32_t>{TokensOf(longer.at(name))[0]});
    EXPECT_EQ(StopOf(outcome), TokensOf(outcome)[0] < 40 ? StopReason::kEndOfText : StopReason::kLength);
  }
}

TEST(Engine, GoesOnAfterTheEndTokenIfAskedTo) {
  const std::vector<Prompt> prompts = Prompts({3, 9});
  Policy policy(OddDeepseek());
  Engine engine(&policy.model, {});
  const Outcomes ended = Sampled(engine, Requests(prompts, 8), Options());
  SamplingOptions options = Options();
  options.ignore_eos = true;
  int shorter = 0;
  for (const auto& [name, outcome] : Sampled(engine, Requests(prompts, 8), options)) {
    const std::vector<int32_t>&tokens = TokensOf(outcome), &prefix = TokensOf(ended.at(name));
    EXPECT_EQ(tokens.size(), 40u);
    EXPECT_EQ(StopOf(outcome), StopReason::kLength);
    EXPECT_EQ(std::vector<int32_t>(tokens.begin(), tokens.begin() + static_cast<int64_t>(prefix.size())),
              prefix);
    shorter += prefix.size() < tokens.size();
  }
  EXPECT_GT(shorter, 3);
}

// The first tokens of samples that may end after `min_new_tokens` more alone.
SamplingOptions LateEnds(float temperature, int64_t min_new_tokens, int64_t max_new_tokens) {
  SamplingOptions options = Options(temperature, max_new_tokens);
  options.min_new_tokens = min_new_tokens;
  for (int32_t id = 40; id < 60; ++id) options.stop_ids.push_back(id);
  return options;
}

TEST_P(EngineOf, SamplesWithAMinimumDoNotSeeTheSchedulerEither) {
  const std::vector<Prompt> prompts = Prompts({1, 30, 63, 100, 2});
  const SamplingOptions options = LateEnds(0.8f, 70, 120);
  Policy policy(GetParam().json(), 1);
  Engine one(&policy.model, {.max_batch = 1});
  const Outcomes expected = Sampled(one, Requests(prompts, 6), options);
  ExpectTheTrainersLogprobs(policy.model, prompts, expected, 0.8f);
  std::map<StopReason, int> ends;
  int as_soon_as_it_may = 0;
  for (const auto& [name, outcome] : expected) {
    const std::vector<int32_t>& tokens = TokensOf(outcome);
    ++ends[StopOf(outcome)];
    ASSERT_GT(tokens.size(), 70u);
    for (size_t i = 0; i + 1 < tokens.size(); ++i) EXPECT_GE(tokens[i], 60) << i;
    EXPECT_EQ(StopOf(outcome), tokens.back() < 40   ? StopReason::kEndOfText
                               : tokens.back() < 60 ? StopReason::kStopString
                                                    : StopReason::kLength);
    as_soon_as_it_may += tokens.size() == 71;
  }
  EXPECT_GT(as_soon_as_it_may, 0);
  EXPECT_GT(ends[StopReason::kEndOfText], 2);
  EXPECT_GT(ends[StopReason::kStopString], 2);

  Policy other(GetParam().json(), 2);
  Engine wide(&other.model, {.max_batch = 40});
  EXPECT_EQ(Sampled(wide, Requests(prompts, 6), options), expected);
  EngineCounts counts;
  Engine cramped(
      &other.model,
      {.max_batch = 40, .prefill_tokens = 7, .cache_bytes = 4 * KvCache::BytesPerPage(other.model.config())});
  EXPECT_EQ(Sampled(cramped, Requests(prompts, 6), options, &counts), expected);
  EXPECT_GT(counts.preemptions, 0);
}

TEST(Engine, AMinimumOfAllTokensEndsByLengthAndNothingIsBannedThatEndsNothing) {
  const std::vector<Prompt> prompts = Prompts({3, 9});
  Policy policy(OddDeepseek());
  Engine engine(&policy.model, {});
  for (const auto& [name, outcome] : Sampled(engine, Requests(prompts, 8), LateEnds(1, 12, 12))) {
    EXPECT_EQ(StopOf(outcome), StopReason::kLength);
    EXPECT_EQ(TokensOf(outcome).size(), 12u);
    EXPECT_GE(*std::min_element(TokensOf(outcome).begin(), TokensOf(outcome).end()), 60);
  }
  SamplingOptions options = Options();
  options.ignore_eos = true;
  const Outcomes expected = Sampled(engine, Requests(prompts, 8), options);
  options.min_new_tokens = 20;
  EXPECT_EQ(Sampled(engine, Requests(prompts, 8), options), expected);
}

TEST(Engine, AStopIdEndsAsTheEndTokenDoesAlsoWhereThatIsIgnored) {
  const std::vector<Prompt> prompts = Prompts({3, 9});
  Policy policy(OddDeepseek());
  Engine engine(&policy.model, {});
  SamplingOptions options = Options();
  const Outcomes expected = Sampled(engine, Requests(prompts, 8), options);
  options.stop_ids = options.eos_ids;
  options.ignore_eos = true;
  int stopped = 0;
  for (const auto& [name, outcome] : Sampled(engine, Requests(prompts, 8), options)) {
    EXPECT_EQ(TokensOf(outcome), TokensOf(expected.at(name)));
    const bool ended = StopOf(expected.at(name)) == StopReason::kEndOfText;
    EXPECT_EQ(StopOf(outcome), ended ? StopReason::kStopString : StopReason::kLength);
    stopped += ended;
  }
  EXPECT_GT(stopped, 3);
}

TEST(Engine, SkipsRequestsForNoSamples) {
  const std::vector<Prompt> prompts = Prompts({3, 9, 4});
  Policy policy(OddDeepseek());
  Engine engine(&policy.model, {.max_batch = 1});
  std::vector<SampleRequest> requests = Requests(prompts, 1);
  requests[0].samples.clear();
  requests[2].samples.clear();
  EXPECT_EQ(Sampled(engine, requests, Options()).size(), 1u);
  EXPECT_EQ(Sampled(engine, {}, Options()).size(), 0u);
}

// Logprobs of every token after `prefix`.
std::vector<float> NextLogprobs(CausalLm& model, std::vector<int32_t> prefix) {
  Sequences sequences;
  prefix.push_back(0);
  for (int32_t id = 0; id < model.config().vocab_size; ++id) {
    prefix.back() = id;
    sequences.push_back(prefix);
  }
  const std::vector<float> all = PackedLogprobs(model, sequences, 1.0f);
  std::vector<float> next;
  for (size_t i = prefix.size(); i <= all.size(); i += prefix.size()) next.push_back(all[i - 2]);
  return next;
}

// Calls check(logprobs of all tokens there, the token) for every sampled token.
template <class F>
void ForEachToken(const kernels::SampleParameters& parameters, F check) {
  const std::vector<Prompt> prompts = Prompts({1, 6}, 37);
  Policy policy(TinyDeepseek());
  Engine engine(&policy.model, {});
  SamplingOptions options;
  options.max_new_tokens = 8;
  options.parameters = parameters;
  for (const auto& [name, outcome] : Sampled(engine, Requests(prompts, 4), options)) {
    std::vector<int32_t> prefix = prompts[name.first == "p1" ? 0 : 1].tokens;
    for (int32_t token : TokensOf(outcome)) {
      check(NextLogprobs(policy.model, prefix), token);
      prefix.push_back(token);
    }
  }
}

TEST(Engine, AtTemperatureZeroTakesTheLargestLogprob) {
  for (kernels::SampleParameters parameters : {kernels::SampleParameters{.temperature = 0},
                                               {.temperature = 1, .top_k = 1},
                                               {.top_p = 1e-6f},
                                               {.min_p = 1}}) {
    ForEachToken(parameters, [](const std::vector<float>& logprobs, int32_t token) {
      EXPECT_EQ(token, std::max_element(logprobs.begin(), logprobs.end()) - logprobs.begin());
    });
  }
}

TEST(Engine, TheLikeliestTokenIsSoughtAmongThoseThatMayCome) {
  const std::vector<Prompt> prompts = Prompts({1, 6}, 37);
  Policy policy(TinyDeepseek());
  Engine engine(&policy.model, {});
  SamplingOptions options;
  options.parameters.temperature = 0;
  options.max_new_tokens = 8;
  const std::vector<int32_t> free = TokensOf(Sampled(engine, Requests(prompts, 1), options).at({"p1", 0}));
  options.min_new_tokens = 3;
  options.eos_ids = {free[0]};
  options.stop_ids = {free[1]};
  for (const auto& [name, outcome] : Sampled(engine, Requests(prompts, 1), options)) {
    std::vector<int32_t> prefix = prompts[name.first == "p1" ? 0 : 1].tokens;
    for (size_t i = 0; i < TokensOf(outcome).size(); ++i) {
      std::vector<float> logprobs = NextLogprobs(policy.model, prefix);
      const int32_t token = TokensOf(outcome)[i];
      EXPECT_EQ(std::get<1>(outcome)[i], logprobs[token]);
      if (i < 3) logprobs[free[0]] = logprobs[free[1]] = -1e30f;
      EXPECT_EQ(token, std::max_element(logprobs.begin(), logprobs.end()) - logprobs.begin());
      prefix.push_back(token);
    }
  }
}

TEST(Engine, TruncatesByTopKTopPAndMinP) {
  int past_the_best = 0;
  ForEachToken({.temperature = 1, .top_k = 3}, [&](const std::vector<float>& logprobs, int32_t token) {
    const auto better =
        std::count_if(logprobs.begin(), logprobs.end(), [&](float l) { return l > logprobs[token]; });
    EXPECT_LT(better, 3);
    past_the_best += better > 0;
  });
  ForEachToken({.top_p = 0.5f}, [&](const std::vector<float>& logprobs, int32_t token) {
    double better = 0;
    for (float l : logprobs) better += l > logprobs[token] ? std::exp(l) : 0;
    EXPECT_LT(better, 0.5001);
    past_the_best += better > 0;
  });
  ForEachToken({.min_p = 0.4f}, [&](const std::vector<float>& logprobs, int32_t token) {
    const float best = *std::max_element(logprobs.begin(), logprobs.end());
    EXPECT_GT(std::exp(logprobs[token] - best), 0.3999);
    past_the_best += logprobs[token] < best;
  });
  EXPECT_GT(past_the_best, 20);
}

TEST(Engine, StopsOnRequestAndCanGoOn) {
  const std::vector<Prompt> prompts = Prompts(kLengths);
  Policy policy(OddDeepseek());
  Engine engine(&policy.model, {.max_batch = 4});
  const Outcomes expected = Sampled(engine, Requests(prompts, 2), Options());
  int finished = 0;
  const SamplingOptions options = Options();
  std::vector<SampleRequest> requests = Requests(prompts, 2);
  for (SampleRequest& request : requests) request.sampling = &options;
  const absl::Status status = SampleAll(
      engine, requests, [&](const SampleRequest&, Trajectory) { ++finished; }, [&] { return finished >= 3; });
  EXPECT_TRUE(engine.idle());
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_GE(finished, 3);
  EXPECT_LT(finished, 3 + 4);
  EXPECT_EQ(Sampled(engine, Requests(prompts, 2), Options()), expected);
}

TEST(Engine, WeightsThatChangedAreTheNextRunsWeights) {
  const std::vector<Prompt> prompts = Prompts({5});
  Policy policy(OddDeepseek());
  Engine engine(&policy.model, {});
  Sampled(engine, Requests(prompts, 2), Options());
  for (Parameter& parameter : policy.model.parameters().list()) parameter.value.mul_(1.25);
  policy.model.WeightsChanged(6);
  engine.Swap(6);
  const Outcomes after = Sampled(engine, Requests(prompts, 2), Options());
  ExpectTheTrainersLogprobs(policy.model, prompts, after, 1.0f);
  EXPECT_EQ(std::get<4>(after.at({"p1", 0})).at(0).policy_version, 6);
}

std::string Refusal(std::vector<int32_t> tokens, int64_t max_new_tokens = 4,
                    const std::vector<int32_t>& stop_ids = {}) {
  static Policy* const policy = new Policy(TinyDeepseek());
  Engine engine(&policy->model, {});
  Prompt good, bad;
  good.id = "good";
  good.tokens = {1};
  bad.id = "bad\n";
  bad.tokens = std::move(tokens);
  SamplingOptions options = Options(1, max_new_tokens);
  options.min_new_tokens = stop_ids.empty() ? 0 : 1;
  options.eos_ids.resize(3);
  options.stop_ids = stop_ids;
  const std::vector<SampleRequest> requests = {{&good, {0}, 1, &options}, {&bad, {0}, 2, &options}};
  const absl::Status status = SampleAll(
      engine, requests, [](const SampleRequest&, Trajectory) { ADD_FAILURE(); }, [] { return false; });
  EXPECT_TRUE(engine.idle());
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  return std::string(status.message());
}

TEST(Engine, RefusesPromptsThatDoNotFitBeforeItSamplesAny) {
  EXPECT_THAT(Refusal({}), HasSubstr("prompt bad\\x0a: it has no tokens"));
  EXPECT_THAT(Refusal({3, 37}), HasSubstr("token 37 is outside the model's vocabulary of 37"));
  EXPECT_THAT(Refusal({-1}), HasSubstr("token -1 is outside"));
  EXPECT_THAT(Refusal(std::vector<int32_t>(253, 1)), HasSubstr("253 tokens and max_new_tokens 4 exceed"));
  EXPECT_THAT(Refusal({1}, 0), HasSubstr("max_new_tokens must be at least 1"));
  EXPECT_THAT(Refusal({1}, 4, {36, 37}), HasSubstr("stop token 37 is outside the model's vocabulary of 37"));
  std::vector<int32_t> all;
  for (int32_t id = 3; id < 37; ++id) all.push_back(id);
  EXPECT_THAT(Refusal({1}, 4, all), HasSubstr("min_new_tokens: every token of the model ends a completion"));
}

const Tokenizer& TinyTokenizer() {
  static const Tokenizer* const tokenizer = [] {
    auto loaded = Tokenizer::Load("configs/tiny/base");
    if (!loaded.ok()) throw std::runtime_error(loaded.status().ToString());
    return loaded->release();
  }();
  return *tokenizer;
}

TEST(StopStrings, AreSeenAtTheTokenThatCompletesThem) {
  const Tokenizer& tokenizer = TinyTokenizer();
  const StopStrings stops({"</answer>", "\u7B49", "long stop string over many tokens", "<eos>"}, &tokenizer);
  for (const std::string text : {"so </answer>", "x\u7B49", "a long stop string over many tokens"}) {
    SCOPED_TRACE(text);
    const auto tokens = tokenizer.Encode(text);
    ASSERT_TRUE(tokens.ok()) << tokens.status();
    std::vector<int32_t> so_far(50, 300);  // text before it
    for (int32_t token : *tokens) {
      EXPECT_FALSE(stops.Reached(so_far));
      so_far.push_back(token);
    }
    EXPECT_TRUE(stops.Reached(so_far));
  }
  EXPECT_TRUE(stops.Reached({5, 2})) << "a special token counts by its content";
  EXPECT_FALSE(stops.Reached({5, 2, 5})) << "another token completed it";
  EXPECT_TRUE(stops.Reached({5, 2, 5, 2}));
  EXPECT_FALSE(StopStrings({}, nullptr).Reached({1, 2}));
}

TEST(StopStrings, AreSeenThroughTokensThatHaveNoText) {
  const Tokenizer& tokenizer = TinyTokenizer();
  const StopStrings stops({"wait"}, &tokenizer);
  std::vector<int32_t> tokens;
  for (const std::string letter : {"w", "a", "i", "t"}) {
    EXPECT_FALSE(stops.Reached(tokens));
    const auto ids = tokenizer.Encode(letter, {.add_special_tokens = false});
    ASSERT_TRUE(ids.ok());
    if (!tokens.empty()) tokens.insert(tokens.end(), 100, 700);  // outside the tokenizer's vocabulary
    tokens.insert(tokens.end(), ids->begin(), ids->end());
  }
  EXPECT_TRUE(stops.Reached(tokens)) << tokenizer.Decode(tokens, false);
}

TEST(Engine, AStopStringOfTheFirstTokensDoesNotEnd) {
  const Tokenizer& tokenizer = TinyTokenizer();
  const std::vector<Prompt> prompts = Prompts({1, 20});
  Policy policy(OddDeepseek());
  Engine engine(&policy.model, {.max_batch = 5});
  SamplingOptions options = Options();
  options.ignore_eos = true;
  const Outcomes whole = Sampled(engine, Requests(prompts, 4), options);
  options.tokenizer = &tokenizer;
  options.min_new_tokens = 6;
  int later = 0;
  for (const auto& [name, outcome] : whole) {
    const absl::Span<const int32_t> all = TokensOf(outcome);
    for (int64_t begin : {3, 5, 6, 7}) {  // a text of two tokens, the second of which is the 5th, 7th, ..
      options.stop_strings = {tokenizer.Decode(all.subspan(begin, 2), false)};
      if (options.stop_strings[0].empty()) continue;
      // Obvious: the text has it once more with the token than without.
      const auto count = [&](int64_t tokens) {
        const std::string text = tokenizer.Decode(all.first(tokens), false);
        int found = 0;
        for (size_t at = text.find(options.stop_strings[0]); at != text.npos;
             at = text.find(options.stop_strings[0], at + 1))
          ++found;
        return found;
      };
      int64_t end = 7;
      while (end < 40 && count(end) == count(end - 1)) ++end;
      const Outcomes one = Sampled(engine, Requests(prompts, 4), options);
      EXPECT_EQ(TokensOf(one.at(name)).size(), static_cast<size_t>(end));
      EXPECT_EQ(StopOf(one.at(name)),
                count(end) > count(end - 1) ? StopReason::kStopString : StopReason::kLength);
      later += end > 7;
    }
  }
  EXPECT_GT(later, 2);
}

TEST(Engine, EndsAtTheTokenThatCompletesAStopString) {
  const Tokenizer& tokenizer = TinyTokenizer();
  const std::vector<Prompt> prompts = Prompts({1, 20});
  Policy policy(OddDeepseek());
  Engine engine(&policy.model, {.max_batch = 5});
  SamplingOptions options = Options();
  const Outcomes whole = Sampled(engine, Requests(prompts, 12), options);
  options.tokenizer = &tokenizer;
  // Pieces of what was sampled, over the edges of tokens.
  for (size_t at : {3, 8, 15}) {
    const std::string text = tokenizer.Decode(TokensOf(whole.at({"p2", 3})), false);
    if (text.size() > at + 2) options.stop_strings.push_back(text.substr(at, 3));
  }
  options.stop_strings.push_back("<eos>");
  ASSERT_GE(options.stop_strings.size(), 2u);
  int stopped = 0;
  for (const auto& [name, outcome] : Sampled(engine, Requests(prompts, 12), options)) {
    const std::vector<int32_t>& all = TokensOf(whole.at(name));
    size_t end = 1;
    bool found = false;
    for (; end <= all.size() && !found; ++end) {
      const std::string text = tokenizer.Decode(absl::MakeSpan(all).subspan(0, end), false);
      for (const std::string& stop : options.stop_strings) found |= text.find(stop) != text.npos;
    }
    --end;
    EXPECT_EQ(TokensOf(outcome), std::vector<int32_t>(all.begin(), all.begin() + static_cast<int64_t>(end)));
    const bool eos = end == all.size() && StopOf(whole.at(name)) == StopReason::kEndOfText;
    EXPECT_EQ(StopOf(outcome), eos     ? StopReason::kEndOfText
                               : found ? StopReason::kStopString
                                       : StopReason::kLength);
    stopped += StopOf(outcome) == StopReason::kStopString;
  }
  EXPECT_GE(stopped, 1);
}

}  // namespace
}  // namespace temper
