// SPDX-License-Identifier: Apache-2.0
// Tables of answers for rule `math`: what is right for a reference, and near it what is wrong.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "rewards/math/answer.h"
#include "rewards/math/math.h"

namespace temper::math {

struct MathRow {
  std::string gold;
  std::vector<std::string> right, wrong;
};

// Each text stands alone, as a completion that was never asked to think.
inline void ExpectRows(std::initializer_list<MathRow> rows) {
  const std::unique_ptr<Reward> rule = MakeRule({}).value();
  for (const MathRow& row : rows) {
    Prompt prompt;
    prompt.answer = row.gold;
    const absl::Status read = rule->CheckAnswer(prompt);
    EXPECT_TRUE(read.ok()) << row.gold << " | " << read.message();
    for (const bool right : {true, false}) {
      for (const std::string& text : right ? row.right : row.wrong) {
        const Verdict verdict = JudgeSafely(*rule, {.prompt = &prompt, .text = text, .raw = true});
        EXPECT_EQ(verdict.kind == VerdictKind::kCorrect, right)
            << row.gold << " | " << text << " | [" << verdict.extracted << "] " << verdict.reason;
      }
    }
  }
}

}  // namespace temper::math
