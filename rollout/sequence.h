// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "data/trajectory.h"
#include "rollout/drafter.h"
#include "rollout/sampling.h"
#include "rollout/stop_strings.h"

namespace temper {

// The samples wanted of one prompt. What it points to, and the request itself, outlive its samples.
// key: RandomKey(seed, stage, rollout, prompt id).
struct SampleRequest {
  const Prompt* prompt = nullptr;
  std::vector<int32_t> samples;  // indices in the group
  uint64_t key = 0;
  const SamplingOptions* sampling = nullptr;
  bool may_continue = false;  // finished samples stay until Engine::Continue or Engine::Drop
};

// What the samples of a request have in common while they are on their way.
struct SequenceGroup {
  const SampleRequest* request = nullptr;
  StopStrings stop_strings = {{}, nullptr};
  std::vector<int32_t> ends;  // ids that end a sample: not chosen before min_new_tokens
  // After the prompt's last token, in the backend's memory, from when they are known until all have begun.
  std::shared_ptr<void> logits;
  size_t not_begun = 0;  // samples without a token
};

// A sample on its way. Its tokens are the prompt's, then those sampled and given; the first `computed` of
// them are in its pages.
struct Sequence {
  int64_t id = 0;  // in the order of submission, which is the order of precedence
  std::shared_ptr<SequenceGroup> group;
  Trajectory trajectory;
  int64_t turn = 0;            // where in it the turn began that is being sampled
  std::vector<int32_t> pages;  // page b holds positions 64b to 64b + 63
  int64_t computed = 0;
  int64_t furthest = 0;    // the most that was ever computed: up to there it is work done again
  Drafter drafter;         // has the first tokens, as many as it was told
  int32_t mtp_draft = -1;  // of the next token, by the MTP module; -1: none

  const std::vector<int32_t>& prompt() const { return group->request->prompt->tokens; }
  int64_t prompt_length() const { return static_cast<int64_t>(prompt().size()); }
  int64_t length() const { return prompt_length() + static_cast<int64_t>(trajectory.tokens.size()); }
  int64_t missing() const { return length() - computed; }
  int64_t left_to_sample() const { return group->request->sampling->max_new_tokens - trajectory.sampled(); }
  int32_t token(int64_t position) const {
    return position < prompt_length() ? prompt()[position] : trajectory.tokens[position - prompt_length()];
  }
  // Whether the logits of its next token are known without a pass.
  bool drawable() const { return trajectory.tokens.empty() && group->logits != nullptr; }
};

}  // namespace temper
