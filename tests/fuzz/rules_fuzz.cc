// SPDX-License-Identifier: Apache-2.0
// Line 1 is a problem's row as JSON, the rest a completion, judged by every rule that runs no program.
#include "core/json/json.h"
#include "rewards/rules.h"
#include "tests/fuzz/fuzz.h"

FUZZ(bytes) {
  using namespace temper;
  static const auto rules = [] {
    std::vector<std::unique_ptr<Reward>> all;
    for (const std::string& name : RuleNames()) {
      if (name == "code" || name == "process") continue;
      RuleConfig config;
      config.rule = name;
      config.length.max_tokens = 100;
      all.push_back(*MakeRule(config));
    }
    return all;
  }();
  const auto [row, text] = FirstLine(bytes);
  const auto json = ParseJson(row, "row");
  if (!json.ok() || !json->is_object()) return;
  Prompt prompt;
  prompt.fields = row;
  prompt.answer = GetString(*json, "answer", "row", "").value_or("");
  prompt.task = GetString(*json, "task", "row", "").value_or("");
  Completion completion;
  completion.prompt = &prompt;
  completion.text = text;
  completion.tokens = static_cast<int64_t>(text.size());
  for (const auto& rule : rules) {
    if (!rule->CheckAnswer(prompt).ok()) continue;
    const Verdict verdict = rule->Judge(completion);
    TEMPER_CHECK(verdict.score >= 0 && verdict.score <= 1, rule->name());
  }
}
