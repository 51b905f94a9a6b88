// SPDX-License-Identifier: Apache-2.0
// What travels from prompt to update, as plain structs; data/trajectory.proto is their form on disk and
// between ranks.
#pragma once

#include <cstdint>
#include <optional>
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

// Tokens of a completion that follow each other and came there in one way.
struct Segment {
  enum class Kind : int { kSampled = 1, kGiven = 2 };  // given: a tool's answer, another's turn
  int64_t first = 0;                                   // its place in the completion
  int64_t count = 0;                                   // of tokens, at least 1
  Kind kind = Kind::kSampled;
  int64_t policy_version = 0;  // that sampled them; of given ones that at which they were given

  int64_t end() const { return first + count; }
  bool operator==(const Segment&) const = default;
};
const char* Name(Segment::Kind kind);  // "sampled", "given"

// What every rank knows of a sample.
struct TrajectoryHead {
  std::string prompt_id;
  int32_t sample = 0;             // index in its group
  std::vector<Segment> segments;  // in their order, without gaps; neighbours differ in kind or version
  StopReason stop = StopReason::kEndOfText;
  double entropy_sum = 0;         // of the policy's distributions, over the sampled tokens
  std::vector<Verdict> verdicts;  // in the order of the config's rules
  bool looks_back = false;  // whether the text does (rewards/statistics.h); set where ranks exchange heads

  int64_t length() const { return segments.empty() ? 0 : segments.back().end(); }  // in tokens
  int64_t sampled() const;                                                         // of these
  // `count` more tokens at the end.
  void Extend(Segment::Kind kind, int64_t policy_version, int64_t count);
};

// One sample: what the policy wrote after the prompt, and what was given to it on the way. The rank that
// sampled it and those that asked for it (rollout/exchange.h) have all of it, others the head.
struct Trajectory : TrajectoryHead {
  std::vector<int32_t> tokens;  // the completion, the end token included where one was sampled
  std::vector<float> logprobs;  // of the sampled tokens, as sampled; never rewritten
  std::string text;             // tokens decoded, special tokens left out
};

// The logprob of each token of the completion; given ones have none.
std::vector<std::optional<float>> LogprobsByToken(const Trajectory& trajectory);

// The G answers to one prompt. Rewards and advantages are derived from the verdicts by the trainer.
struct Group {
  std::string stage;
  int64_t rollout = 0;
  Prompt prompt;
  std::vector<Trajectory> trajectories;  // by sample index
};

}  // namespace temper
