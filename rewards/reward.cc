// SPDX-License-Identifier: Apache-2.0
#include "rewards/reward.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/check.h"
#include "core/text.h"
#include "rewards/accuracy.h"
#include "rewards/code.h"
#include "rewards/format.h"
#include "rewards/language.h"
#include "rewards/shape.h"

namespace temper {
namespace {

struct Entry {
  const char* name;
  absl::StatusOr<std::unique_ptr<Reward>> (*make)(const RuleConfig&);
};
constexpr Entry kRules[] = {
    {"accuracy", MakeAccuracy}, {"exact", MakeAccuracy},        {"choice", MakeAccuracy},
    {"number", MakeAccuracy},   {"format", MakeFormat},         {"language", MakeLanguage},
    {"length", MakeLength},     {"repetition", MakeRepetition}, {"code", MakeCode}};

}  // namespace

std::vector<RuleConfig> RewardConfig::DefaultRules() {
  return {{.rule = "accuracy", .gate = "format"}, {.rule = "format", .weight = 0.1}};
}

std::vector<std::string> RuleNames() {
  std::vector<std::string> names;
  for (const Entry& entry : kRules) names.push_back(entry.name);
  return names;
}

absl::StatusOr<std::unique_ptr<Reward>> MakeRule(const RuleConfig& config) {
  for (const Entry& entry : kRules) {
    if (config.rule == entry.name) return entry.make(config);
  }
  const std::string nearest = Nearest(config.rule, RuleNames());
  return absl::InvalidArgumentError(
      absl::StrCat("there is no rule ", Printable(config.rule),
                   nearest.empty() ? "" : absl::StrCat(" (did you mean ", nearest, "?)"), "; the rules are ",
                   absl::StrJoin(RuleNames(), ", ")));
}

absl::StatusOr<std::vector<std::unique_ptr<Reward>>> MakeRules(const RewardConfig& config) {
  if (config.rules.empty())
    return absl::InvalidArgumentError("reward.rules is empty: name at least one rule");
  std::vector<std::unique_ptr<Reward>> rules;
  for (const RuleConfig& rule : config.rules) {
    const auto named = [&](const std::string& name) {
      return std::count_if(config.rules.begin(), config.rules.end(),
                           [&](const auto& r) { return r.rule == name; });
    };
    TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<Reward> made, MakeRule(rule));
    if (named(rule.rule) > 1) {
      return absl::InvalidArgumentError(absl::StrCat("reward.rules has rule ", rule.rule, " twice"));
    }
    if (!rule.gate.empty() && (named(rule.gate) == 0 || rule.gate == rule.rule)) {
      return absl::InvalidArgumentError(absl::StrCat("reward.rules: ", rule.rule, " requires ",
                                                     Printable(rule.gate),
                                                     ", which must be another rule of the list"));
    }
    rules.push_back(std::move(made));
  }
  return rules;
}

Verdict MakeVerdict(VerdictKind kind, double score, std::string reason) {
  Verdict verdict;
  verdict.kind = kind;
  verdict.score = score;
  verdict.reason = std::move(reason);
  return verdict;
}

Verdict JudgeSafely(const Reward& rule, const Completion& completion) {
  std::string what;
  try {
    Verdict verdict = rule.Judge(completion);
    verdict.rule = rule.name();
    return verdict;
  } catch (const std::exception& error) {
    what = error.what();
  } catch (...) {
    what = "an exception that is no std::exception";
  }
  Verdict verdict = MakeVerdict(VerdictKind::kInfrastructureError, 0, Printable(what));
  verdict.rule = rule.name();
  return verdict;
}

std::optional<double> RewardOf(const std::vector<Verdict>& verdicts, const RewardConfig& config) {
  const auto verdict_of = [&](const std::string& rule) -> const Verdict& {
    const auto found =
        std::find_if(verdicts.begin(), verdicts.end(), [&](const Verdict& v) { return v.rule == rule; });
    TEMPER_CHECK(found != verdicts.end(), "no verdict of rule ", rule);
    return *found;
  };
  double reward = 0;
  for (const RuleConfig& rule : config.rules) {
    const Verdict& verdict = verdict_of(rule.rule);
    if (verdict.kind == VerdictKind::kInfrastructureError) return std::nullopt;
    const bool open = rule.gate.empty() || verdict_of(rule.gate).kind == VerdictKind::kCorrect;
    if (open && verdict.kind != VerdictKind::kTimeout) reward += rule.weight * verdict.score;
  }
  if (config.min) reward = std::max(reward, *config.min);
  if (config.max) reward = std::min(reward, *config.max);
  return reward;
}

}  // namespace temper
