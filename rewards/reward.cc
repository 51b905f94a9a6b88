// SPDX-License-Identifier: Apache-2.0
#include "rewards/reward.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/check.h"
#include "core/text.h"
#include "rewards/accuracy.h"
#include "rewards/code.h"
#include "rewards/format.h"
#include "rewards/harmless.h"
#include "rewards/instructions.h"
#include "rewards/language.h"
#include "rewards/math.h"
#include "rewards/process.h"
#include "rewards/shape.h"

namespace temper {
namespace {

struct Entry {
  const char* name;
  absl::StatusOr<std::unique_ptr<Reward>> (*make)(const RuleConfig&);
  bool of_form = false;  // judges how a completion is written, not whether it does what was asked
};
constexpr Entry kRules[] = {{"accuracy", MakeAccuracy},
                            {"exact", MakeAccuracy},
                            {"choice", MakeAccuracy},
                            {"number", MakeAccuracy},
                            {"format", MakeFormat, true},
                            {"language", MakeLanguage, true},
                            {"length", MakeLength, true},
                            {"repetition", MakeRepetition, true},
                            {"instructions", MakeInstructions},
                            {"harmless", MakeHarmless, true},
                            {"process", MakeProcess},
                            {"code", MakeCode},
                            {"math", MakeMath}};

// A rule under the name that its entry gives it.
class Named : public Reward {
 public:
  Named(std::unique_ptr<Reward> rule, std::string name) : rule_(std::move(rule)), name_(std::move(name)) {}
  const std::string& name() const override { return name_; }
  Verdict Judge(const Completion& completion) const override { return rule_->Judge(completion); }
  absl::Status CheckAnswer(const Prompt& prompt) const override { return rule_->CheckAnswer(prompt); }

 private:
  const std::unique_ptr<Reward> rule_;
  const std::string name_;
};

absl::StatusOr<std::unique_ptr<Reward>> Make(const RuleConfig& config) {
  for (const Entry& entry : kRules) {
    if (config.rule == entry.name) return entry.make(config);
  }
  const std::string nearest = Nearest(config.rule, RuleNames());
  return absl::InvalidArgumentError(
      absl::StrCat("there is no rule ", Printable(config.rule),
                   nearest.empty() ? "" : absl::StrCat(" (did you mean ", nearest, "?)"), "; the rules are ",
                   absl::StrJoin(RuleNames(), ", ")));
}

absl::Status CheckNames(const RewardConfig& config) {
  const auto named = [&](const std::string& name) {
    return std::count_if(config.rules.begin(), config.rules.end(),
                         [&](const RuleConfig& r) { return r.Name() == name; });
  };
  for (const RuleConfig& rule : config.rules) {
    for (const char c : rule.name) {  // it is a part of metrics' names
      if (absl::ascii_isalnum(c) || c == '_' || c == '-') continue;
      return absl::InvalidArgumentError(
          absl::StrCat("reward.rules: name ", Printable(rule.name), ": letters, digits, _ and - only"));
    }
    if (named(rule.Name()) > 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("reward.rules has rule ", rule.Name(), " twice: give one of them another name"));
    }
    if (!rule.gate.empty() && (named(rule.gate) == 0 || rule.gate == rule.Name())) {
      return absl::InvalidArgumentError(absl::StrCat("reward.rules: ", rule.Name(), " requires ",
                                                     Printable(rule.gate),
                                                     ", which must be another rule of the list"));
    }
    if (rule.gate.empty() && (rule.gate_score || rule.weight_otherwise != 0)) {
      return absl::InvalidArgumentError(absl::StrCat("reward.rules: ", rule.Name(), " has ",
                                                     rule.gate_score ? "requires_score" : "weight_otherwise",
                                                     " and no `requires`"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<RuleConfig> RewardConfig::DefaultRules() {
  return {{.rule = "accuracy", .gate = "format"}, {.rule = "format", .weight = 0.1}};
}

std::vector<std::string> RuleNames() {
  std::vector<std::string> names;
  for (const Entry& entry : kRules) names.push_back(entry.name);
  return names;
}

const RuleConfig& AnswerRule(const RewardConfig& config) {
  TEMPER_CHECK(!config.rules.empty(), "a reward without rules");
  const auto found = std::find_if(config.rules.begin(), config.rules.end(), [](const RuleConfig& rule) {
    return std::none_of(std::begin(kRules), std::end(kRules),
                        [&](const Entry& entry) { return entry.of_form && rule.rule == entry.name; });
  });
  return found == config.rules.end() ? config.rules[0] : *found;
}

absl::StatusOr<std::unique_ptr<Reward>> MakeRule(const RuleConfig& config) {
  TEMPER_ASSIGN_OR_RETURN(std::unique_ptr<Reward> rule, Make(config));
  if (rule->name() == config.Name()) return rule;
  return std::make_unique<Named>(std::move(rule), config.Name());
}

absl::StatusOr<std::vector<std::unique_ptr<Reward>>> MakeRules(const RewardConfig& config) {
  if (config.rules.empty())
    return absl::InvalidArgumentError("reward.rules is empty: name at least one rule");
  TEMPER_RETURN_IF_ERROR(CheckNames(config));
  std::vector<std::unique_ptr<Reward>> rules;
  for (const RuleConfig& rule : config.rules) {
    TEMPER_ASSIGN_OR_RETURN(rules.emplace_back(), MakeRule(rule));
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

const Verdict& VerdictOf(const std::vector<Verdict>& verdicts, const std::string& rule) {
  const auto found =
      std::find_if(verdicts.begin(), verdicts.end(), [&](const Verdict& v) { return v.rule == rule; });
  TEMPER_CHECK(found != verdicts.end(), "no verdict of rule ", rule);
  return *found;
}

bool GateHolds(const RuleConfig& rule, const std::vector<Verdict>& verdicts) {
  if (rule.gate.empty()) return true;
  const Verdict& gate = VerdictOf(verdicts, rule.gate);
  return gate.kind == VerdictKind::kCorrect || (rule.gate_score && gate.score >= *rule.gate_score);
}

std::optional<double> RewardOf(const std::vector<Verdict>& verdicts, const RewardConfig& config) {
  double reward = 0;
  for (const RuleConfig& rule : config.rules) {
    const Verdict& verdict = VerdictOf(verdicts, rule.Name());
    if (verdict.kind == VerdictKind::kInfrastructureError) return std::nullopt;
    if (verdict.kind == VerdictKind::kTimeout) continue;
    reward += (GateHolds(rule, verdicts) ? rule.weight : rule.weight_otherwise) * verdict.score;
  }
  if (config.min) reward = std::max(reward, *config.min);
  if (config.max) reward = std::min(reward, *config.max);
  return reward;
}

}  // namespace temper
