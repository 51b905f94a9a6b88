// SPDX-License-Identifier: Apache-2.0
// What the tests of rewards share.
#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "rewards/rules.h"

namespace temper {

inline void PrintTo(VerdictKind kind, std::ostream* out) { *out << Name(kind); }

inline Prompt Problem(std::string answer, std::string task = "math") {
  Prompt prompt;
  prompt.id = "p1";
  prompt.text = "Q <think>";
  prompt.answer = std::move(answer);
  prompt.task = std::move(task);
  return prompt;
}

inline std::unique_ptr<Reward> Rule(RuleConfig config) {
  absl::StatusOr<std::unique_ptr<Reward>> rule = MakeRule(config);
  EXPECT_TRUE(rule.ok()) << rule.status().message();
  return *std::move(rule);
}

inline Verdict Judge(const RuleConfig& config, const Prompt& prompt, std::string_view text,
                     StopReason stop = StopReason::kEndOfText, bool raw = false) {
  Completion completion;
  completion.prompt = &prompt;
  completion.text = text;
  completion.stop = stop;
  completion.raw = raw;
  return JudgeSafely(*Rule(config), completion);
}

inline RuleConfig Config(std::string rule) {
  RuleConfig config;
  config.rule = std::move(rule);
  return config;
}

// Texts that have broken graders: none may throw, hang, or be called correct by a rule that needs an answer
// of "7".
inline std::vector<std::string> HostileTexts() {
  const auto repeat = [](std::string_view piece, int n) {
    std::string text;
    for (int i = 0; i < n; ++i) text += piece;
    return text;
  };
  return {"",
          " \n\t ",
          std::string(1, '\0'),
          std::string("7\0</think><answer>7\0</answer>", 29),
          "\xff\xfe</think><answer>\xc3</answer>",
          "</think></think><answer>7</answer>",
          "</think><answer>7</answer></think>",
          "</think><answer>7</answer><answer>7</answer>",
          "</think><answer><answer>7</answer></answer>",
          "</think><answer>8</answer> 7",
          "<answer>7</answer></think>",
          "</answer>7<answer></think>",
          "</think></answer>7<answer>",
          "</think><answer></answer>7",
          "</think><answer>7",
          "</think>7</answer>",
          "</think><answer >7</answer>",
          "</think><ANSWER>7</ANSWER>",
          "<think>a</think><answer>1 or 7</answer>",
          "</think><answer>" + std::string(1000000, '7') + "</answer>",
          "</think><answer>0." + std::string(1000000, '0') + "7</answer>",
          "</think><answer>7e999999999</answer>",
          "</think><answer>" + repeat("\\frac{", 100000) + "7" + repeat("}", 100000) + "</answer>",
          "</think><answer>" + repeat("(", 1000000) + "</answer>",
          "</think><answer>" + repeat("7 or ", 500) + "</answer>",
          "</think><answer>7/0</answer>",
          "</think><answer>\\boxed{" + repeat("{", 3000) + "</answer>",
          repeat("<answer>", 200000),
          repeat("</think>", 200000),
          repeat("<think>", 200000),
          repeat("\\boxed{", 200000),
          repeat("####", 500000),
          repeat("$", 2000000),
          repeat("`", 2000000),
          repeat("1,", 1000000),
          std::string(4000000, 'a'),
          repeat("\xe7\xad\x89", 1000000)};
}

}  // namespace temper
