// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "core/config/config.h"
#include "rewards/rule.h"

namespace temper {

struct AnswerOptions {
  std::string mode = "strict";

  template <class V>
  void Fields(V& v) {
    v.Field("mode", mode, "strict: the answer is inside <answer>; lenient: wherever one is found.");
  }
};

// Rules `accuracy`, `exact`, `choice` and `number`: the answer equals the prompt's reference. accuracy
// compares by the reference's kind (number, choice, text; rewards/answer/answer.h), and by the task itself
// for tasks chain and find_x and the procedural ones (data/tasks), where several answers may be right; exact
// compares bytes after trimming; choice and number refuse references of other kinds.
//
// mode strict: the answer is inside the one <answer>..</answer> after the one </think>
// (rewards/completion/tags.h). mode lenient: see FindAnswer. `raw` completions are the answer themselves. A
// reference that cannot be read is CheckAnswer's error, and in Judge an infrastructure error: never a wrong
// answer.
absl::StatusOr<std::unique_ptr<Reward>> MakeAnswerRule(const std::string& rule, const AnswerOptions& options);

}  // namespace temper
