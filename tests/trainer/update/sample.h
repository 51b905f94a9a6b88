// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/deal.h"
#include "tests/model/odd_models.h"
#include "trainer/update/step.h"

namespace temper {

constexpr float kTemperature = 0.9f;

// Of samples that share a prompt: rows at most, of which the groups of a Sample have more and fewer. What
// trains an MTP module shares none.
inline int64_t SharedPromptTokens(const Json& json) { return Parsed(json).mtp == MtpUse::kTrained ? 0 : 60; }

// Groups of unfriendly lengths, prompts of one token among them; old and reference logprobs are the policy's
// own and, where `noise`, some more.
struct Sample {
  // `longer`: of more sequences, each a group.
  explicit Sample(const Json& json, float noise = 0.2f, const std::vector<int64_t>& longer = {}) {
    RandomStream random(RandomKey(3, "sample", 0, ""), Purpose::kTask);
    for (int64_t group = 0; group < 11; ++group) {
      const int64_t prompt = group % 3 == 0 || group == 4 ? 1 : static_cast<int64_t>(2 + random.NextBelow(9));
      for (int64_t i = 0; i < 1 + group % 3; ++i) {
        TrainSequence& sequence = sequences.emplace_back();
        sequence.group = group;
        sequence.prompt_tokens = prompt;
        const int64_t completion = group == 8 ? 1 : 1 + static_cast<int64_t>(random.NextBelow(29));
        sequence.tokens = RandomTokens(711, prompt + completion, 100 * group + i);
        sequence.CountFrom(prompt);
        sequence.advantage = static_cast<float>(random.NextNormal());
        group_of.push_back(group);
      }
    }
    sequences[5].tokens = RandomTokens(711, 90, 5);  // longer than a microbatch
    sequences[5].CountFrom(sequences[5].ranges[0].begin);
    for (size_t i = 1; i < sequences.size(); ++i) {
      const TrainSequence& before = sequences[i - 1];
      if (sequences[i].group == before.group)
        std::copy_n(before.tokens.begin(), before.prompt_tokens, sequences[i].tokens.begin());
    }
    for (const int64_t length : longer) {
      group_of.push_back(group_of.back() + 1);
      TrainSequence& sequence = sequences.emplace_back();
      sequence.tokens = RandomTokens(711, length, 100 * group_of.back());
      sequence.CountFrom(length / 3);
      sequence.advantage = static_cast<float>(random.NextNormal());
    }
    Policy policy(json);
    std::vector<const TrainSequence*> all;
    for (const TrainSequence& sequence : sequences) all.push_back(&sequence);
    SequenceLogprobs(policy.model, all, {33, kTemperature}, [&](size_t i, absl::Span<const float> logprobs) {
      for (float logprob : logprobs) {
        sequences[i].old_logprobs.push_back(logprob + noise * static_cast<float>(random.NextNormal()));
        sequences[i].ref_logprobs.push_back(logprob + noise * static_cast<float>(random.NextNormal()));
      }
      denominators.tokens += static_cast<double>(logprobs.size());
      denominators.sequences += 1;
    });
  }

  Leaves Deal(int64_t count) const {
    std::vector<int64_t> tokens(group_of.back() + 1, 0);
    for (size_t i = 0; i < sequences.size(); ++i)
      tokens[group_of[i]] += static_cast<int64_t>(sequences[i].tokens.size());
    Leaves leaves(count);
    const std::vector<std::vector<int64_t>> dealt = temper::Deal(tokens, count);
    for (int64_t l = 0; l < count; ++l) {
      for (int64_t group : dealt[l]) {
        for (size_t i = 0; i < sequences.size(); ++i)
          if (group_of[i] == group) leaves[l].push_back(&sequences[i]);
      }
    }
    return leaves;
  }

  std::vector<TrainSequence> sequences;
  std::vector<int64_t> group_of;
  LossDenominators denominators;
};

// Rows of a leaf, and the microbatches that it takes where they are as small as can be.
struct LeafRows {
  int64_t rows = 0, parts = 0;
};
inline LeafRows RowsOfLeaf(const std::vector<const TrainSequence*>& leaf, int64_t shared_prompt_tokens) {
  LeafRows all;
  ForEachMicrobatch(leaf, {1, shared_prompt_tokens}, [&](const Microbatch& batch, size_t, size_t) {
    all.rows += static_cast<int64_t>(batch.tokens.size());
    ++all.parts;
  });
  return all;
}

}  // namespace temper
