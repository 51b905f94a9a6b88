// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "rewards/rule.h"

namespace temper {

constexpr size_t kMaxCodeBytes = 256 << 10;

// The program that a completion holds.
struct CodeBlock {
  VerdictKind kind = VerdictKind::kNoAnswer;  // kCorrect: found; else no_answer or malformed, and why
  std::string code;
  std::string reason;
};

// The last closed fenced block (CommonMark, 4.5; an indented fence takes its indentation off its lines) of
// where the answer is (FindAnswerPlace, rewards/completion/tags.h): of those labelled with the language, else
// of those without a label. Blocks labelled otherwise are output, shell or another language. A fence that is
// not closed is no block, and nothing inside the thinking counts. A `raw` completion is the program itself if
// it has no fence at all. Two </think> are malformed.
CodeBlock FindCode(const Completion& completion, bool cpp);

}  // namespace temper
