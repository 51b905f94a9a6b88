// SPDX-License-Identifier: Apache-2.0
// Requests to an engine, and what comes of them in a form that can be compared.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "core/random.h"
#include "gtest/gtest.h"
#include "rollout/engine.h"
#include "tests/model/odd_models.h"

namespace temper {

// What a sample is, by prompt and index.
using Outcome =
    std::tuple<std::vector<int32_t>, std::vector<float>, StopReason, double, std::vector<Segment>>;
using Outcomes = std::map<std::pair<std::string, int32_t>, Outcome>;

inline std::vector<Prompt> Prompts(const std::vector<int64_t>& lengths, int64_t vocabulary = 711) {
  std::vector<Prompt> prompts;
  for (int64_t length : lengths) {
    prompts.emplace_back();
    prompts.back().id = "p" + std::to_string(prompts.size());
    prompts.back().tokens = RandomTokens(vocabulary, length, prompts.size());
  }
  return prompts;
}

inline std::vector<SampleRequest> Requests(const std::vector<Prompt>& prompts, int32_t samples) {
  std::vector<SampleRequest> requests;
  for (const Prompt& prompt : prompts) {
    requests.push_back({&prompt, {}, RandomKey(7, "stage", 3, prompt.id)});
    for (int32_t i = 0; i < samples; ++i) requests.back().samples.push_back(i);
  }
  return requests;
}

// About one token in eighteen of 711 ends a sample.
inline SamplingOptions Options(float temperature = 1.0f, int64_t max_new_tokens = 40) {
  SamplingOptions options;
  options.parameters.temperature = temperature;
  options.max_new_tokens = max_new_tokens;
  for (int32_t id = 0; id < 40; ++id) options.eos_ids.push_back(id);
  return options;
}

inline Outcomes Sampled(Engine& engine, std::vector<SampleRequest> requests, const SamplingOptions& options,
                        EngineCounts* counts = nullptr) {
  for (SampleRequest& request : requests) request.sampling = &options;
  Outcomes outcomes;
  const absl::Status status = SampleAll(
      engine, requests,
      [&](const SampleRequest& request, Trajectory t) {
        EXPECT_EQ(request.prompt->id, t.prompt_id);
        const bool is_new =
            outcomes
                .try_emplace({t.prompt_id, t.sample}, t.tokens, t.logprobs, t.stop, t.entropy_sum, t.segments)
                .second;
        EXPECT_TRUE(is_new) << t.prompt_id << ", " << t.sample;
      },
      [] { return false; });
  EXPECT_TRUE(status.ok()) << status;
  const EngineCounts counted = engine.TakeCounts();
  if (counts != nullptr) *counts = counted;
  return outcomes;
}

inline const std::vector<int32_t>& TokensOf(const Outcome& outcome) { return std::get<0>(outcome); }
inline StopReason StopOf(const Outcome& outcome) { return std::get<2>(outcome); }

// The trainer's logprobs of the samples, all packed together.
inline void ExpectTheTrainersLogprobs(CausalLm& model, const std::vector<Prompt>& prompts,
                                      const Outcomes& outcomes, float temperature) {
  Sequences sequences;
  std::vector<float> sampled;
  for (const auto& [name, outcome] : outcomes) {
    const auto prompt =
        std::find_if(prompts.begin(), prompts.end(), [&](const Prompt& p) { return p.id == name.first; });
    sequences.push_back(prompt->tokens);
    sequences.back().insert(sequences.back().end(), TokensOf(outcome).begin(), TokensOf(outcome).end());
  }
  const std::vector<float> all = PackedLogprobs(model, sequences, temperature);
  auto next = all.begin();
  size_t index = 0;
  for (const auto& [name, outcome] : outcomes) {
    next += static_cast<int64_t>(sequences[index++].size());
    const auto count = static_cast<int64_t>(TokensOf(outcome).size());
    EXPECT_EQ(std::vector<float>(next - 1 - count, next - 1), std::get<1>(outcome)) << name.first;
  }
}

}  // namespace temper
