// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/status.h"
#include "data/trajectory.h"

namespace temper {

// What a rule judges. `prompt` is never null and outlives the call, as does what `text` points to.
struct Completion {
  const Prompt* prompt = nullptr;
  std::string_view text;  // any bytes
  StopReason stop = StopReason::kEndOfText;
  bool raw = false;     // text is the answer itself: no tags are expected
  int64_t tokens = -1;  // length of the completion; -1: unknown
};

class ProcessRule;

// A rule: a pure function of the completion, callable from many threads at once, in bounded time for any
// bytes.
class Reward {
 public:
  virtual ~Reward() = default;
  virtual const std::string& name() const = 0;
  virtual Verdict Judge(const Completion& completion) const = 0;

  // Whether the prompt's reference answer can be judged by at all; asked once, when a dataset is loaded.
  virtual absl::Status CheckAnswer(const Prompt& prompt) const { return absl::OkStatus(); }

  // Whether the rule can judge: what it needs is there and starts. May take seconds; asked once, before a run
  // trains, of a rule that has judged nothing yet.
  virtual absl::Status CheckReady() const { return absl::OkStatus(); }

  // Gives up what is being judged: Judge returns soon, with a verdict of no meaning. Blocks until nothing is
  // being judged; what is asked later is judged again. Rules that judge at once need none.
  virtual void Drop() const {}

  // The rule, if it is one that waits for programs: then it is not Judge that a pool calls. Null: it is not.
  virtual const ProcessRule* process() const { return nullptr; }
};

// For rules: a verdict without an extracted answer; the rule's name is filled in by JudgeSafely.
Verdict MakeVerdict(VerdictKind kind, double score, std::string reason);

// `rule`'s verdict with its name filled in; what it throws becomes infrastructure_error with the message.
Verdict JudgeSafely(const Reward& rule, const Completion& completion);

}  // namespace temper
