// SPDX-License-Identifier: Apache-2.0
// The rules there are, a reward as a config says it, and the weighted sum.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/config/config.h"
#include "rewards/answer/accuracy.h"
#include "rewards/code/code.h"
#include "rewards/math/math.h"
#include "rewards/process/process.h"
#include "rewards/rule.h"
#include "rewards/text/format.h"
#include "rewards/text/harmless.h"
#include "rewards/text/instructions.h"
#include "rewards/text/language.h"
#include "rewards/text/shape.h"

namespace temper {

// Names of all rules, in the table's order; RuleNamesText with commas between.
std::vector<std::string> RuleNames();
const std::string& RuleNamesText();

// One rule of a reward: its name decides which options it has; those of other rules are unknown keys.
struct RuleConfig {
  std::string rule{};
  std::string name{};
  double weight = 1.0;
  std::string gate{};  // "requires" in a file
  std::optional<double> gate_score{};
  double weight_otherwise = 0;

  math::Options math = {};
  CodeOptions code = {};
  AnswerOptions answer = {};
  FormatOptions format = {};
  LanguageOptions language = {};
  LengthOptions length = {};
  RepetitionOptions repetition = {};
  InstructionsOptions instructions = {};
  HarmlessOptions harmless = {};
  ProcessOptions process = {};

  // What verdicts, metrics and `requires` call it.
  const std::string& Name() const { return name.empty() ? rule : name; }

  // The table of rules: calls each(name, its options, what makes it of them) for every one.
  template <class F>
  void ForEachRule(F each) {
    each("math", math, math::MakeRule);
    each("code", code, MakeCode);
    for (const char* by_answer : {"accuracy", "exact", "choice", "number"}) {
      each(by_answer, answer,
           [by_answer](const AnswerOptions& options) { return MakeAnswerRule(by_answer, options); });
    }
    each("format", format, MakeFormat);
    each("language", language, MakeLanguage);
    each("length", length, MakeLength);
    each("repetition", repetition, MakeRepetition);
    each("instructions", instructions, MakeInstructions);
    each("harmless", harmless, MakeHarmless);
    each("process", process, MakeProcess);
  }

  template <class V>
  void Fields(V& v) {
    static const std::string names = "The rule's name: " + RuleNamesText() + ".";
    v.Field("rule", rule, names.c_str(), Required());
    v.Field("name", name,
            "What verdicts and `requires` call this entry, where a rule stands in the list more than once.");
    v.Field("weight", weight, "The reward is the sum of weight times score over the rules.",
            Between(-1e6, 1e6));
    v.Field("requires", gate, "A rule of the same list: only where it says correct does this one count.");
    v.Field("requires_score", gate_score,
            "Where the required rule scores at least this, this one counts, whatever that one says.",
            Between(0, 1));
    v.Field("weight_otherwise", weight_otherwise,
            "The weight where the required rule does not hold (cosine length rewards).", Between(-1e6, 1e6));
    ForEachRule([&](const char* its, auto& options, const auto&) { v.Case("rule", rule, its, options); });
  }
};

// Of DeepSeek-R1 (arXiv 2501.12948, 2.2.2) by default: accuracy and format.
struct RewardConfig {
  static std::vector<RuleConfig> DefaultRules();

  std::vector<RuleConfig> rules = DefaultRules();
  std::optional<double> min;
  std::optional<double> max;

  template <class V>
  void Fields(V& v) {
    v.List("rules", rules, "The rules; verdicts keep this order.");
    v.Field("min", min, "Rewards are clipped to this from below.");
    v.Field("max", max, "Rewards are clipped to this from above.");
    v.Check(!min || !max || *min <= *max, "max", "is less than min");
  }
};

// Errors: an unknown rule (with the nearest name), a bad option.
absl::StatusOr<std::unique_ptr<Reward>> MakeRule(const RuleConfig& config);

// The config's rules in its order, by their names. Errors also: no rule, a name twice, `requires` of a name
// that is not listed.
absl::StatusOr<std::vector<std::unique_ptr<Reward>>> MakeRules(const RewardConfig& config);

// The first rule of the list that judges the answer, and not how it is written (format, language, length,
// repetition, harmless); where all do that, the first.
const RuleConfig& AnswerRule(const RewardConfig& config);

// The verdict of the rule of that name, which is there.
const Verdict& VerdictOf(const std::vector<Verdict>& verdicts, const std::string& rule);

// Whether the rule that `rule` requires, if any, holds, so that it counts with its weight.
bool GateHolds(const RuleConfig& rule, const std::vector<Verdict>& verdicts);

// Whether every rule can judge now (Reward::CheckReady): the first that cannot is the error.
absl::Status CheckRulesReady(const std::vector<std::unique_ptr<Reward>>& rules);

// What a rule adds to a reward.
struct RewardPart {
  bool holds = true;  // the required rule does, or none is required
  double weight = 0;  // the one that counts: weight, or weight_otherwise
  double value = 0;   // weight times score; a timeout counts as 0
};
struct RewardSum {
  std::vector<RewardPart> parts;  // in the order of the config's rules
  double sum = 0;                 // of their values
  // The sum, clipped. Nothing if any verdict is an infrastructure error: such a sample is dropped, never
  // scored 0.
  std::optional<double> reward;
};
// `verdicts` has one of each of the config's rules.
RewardSum SumOf(const std::vector<Verdict>& verdicts, const RewardConfig& config);
inline std::optional<double> RewardOf(const std::vector<Verdict>& verdicts, const RewardConfig& config) {
  return SumOf(verdicts, config).reward;
}

}  // namespace temper
