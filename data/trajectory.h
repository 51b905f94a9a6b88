// SPDX-License-Identifier: Apache-2.0
// What travels from prompt to update, as plain structs; data/trajectory.proto is their form on disk and
// between ranks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace temper {

// A problem, ready for the policy. Ids are unique in a run's stage: they name the random draws
// (core/random.h).
struct Prompt {
  std::string id;
  std::vector<int32_t> tokens;
  std::string text;    // what tokens encode
  std::string answer;  // the reference answer, in the task's own form
  std::string task;    // which generator or dataset; tells a rule how to compare (for example "chain",
                       // "find_x", "math")
  std::string fields;  // the whole source row as JSON, for rules that need more than the answer; may be empty
};

enum class StopReason : int { kEndOfText = 1, kLength = 2, kStopString = 3 };
const char* Name(StopReason reason);  // "eos", "length", "stop"

enum class VerdictKind : int {
  kCorrect = 1,
  kWrong = 2,
  kNoAnswer = 3,
  kMalformed = 4,
  kTimeout = 5,              // counted and shown
  kInfrastructureError = 6,  // retried, or the sample is dropped; never a reward of 0
};
const char* Name(
    VerdictKind kind);  // "correct", "wrong", "no_answer", "malformed", "timeout", "infrastructure_error"

// What one rule says of one completion.
struct Verdict {
  std::string rule;  // "accuracy", "format", "language", ...
  VerdictKind kind = VerdictKind::kNoAnswer;
  double score = 0;       // in [0, 1]; graded rules (language) use the inside
  std::string extracted;  // the answer that was found
  std::string reason;     // one line for a person
};

// One sample: what the policy wrote after the prompt.
struct Trajectory {
  std::string prompt_id;
  int32_t sample = 0;           // index in its group
  std::vector<int32_t> tokens;  // the completion, the end token included where one was sampled
  std::vector<float> logprobs;  // of each token, as sampled; never rewritten
  int64_t policy_version = 0;
  StopReason stop = StopReason::kEndOfText;
  double entropy_sum = 0;         // of the policy's distributions, over the tokens
  std::string text;               // tokens decoded, special tokens left out
  std::vector<Verdict> verdicts;  // in the order of the config's rules
};

// The G answers to one prompt. Rewards and advantages are derived from the verdicts by the trainer.
struct Group {
  std::string stage;
  int64_t rollout = 0;
  Prompt prompt;
  std::vector<Trajectory> trajectories;  // by sample index
};

}  // namespace temper
