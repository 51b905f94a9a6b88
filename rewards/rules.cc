// SPDX-License-Identifier: Apache-2.0
#include "rewards/rules.h"

#include <algorithm>
#include <type_traits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/check.h"
#include "core/text.h"

namespace temper {
namespace {

// Options of rules that judge how a completion is written, not whether it does what was asked.
template <class Options>
constexpr bool kOfForm =
    std::is_same_v<Options, FormatOptions> || std::is_same_v<Options, LanguageOptions> ||
    std::is_same_v<Options, LengthOptions> || std::is_same_v<Options, RepetitionOptions> ||
    std::is_same_v<Options, HarmlessOptions>;

// A rule under the name that its entry gives it.
class Named : public Reward {
 public:
  Named(std::unique_ptr<Reward> rule, std::string name) : rule_(std::move(rule)), name_(std::move(name)) {}
  const std::string& name() const override { return name_; }
  Verdict Judge(const Completion& completion) const override { return rule_->Judge(completion); }
  absl::Status CheckAnswer(const Prompt& prompt) const override { return rule_->CheckAnswer(prompt); }
  absl::Status CheckReady() const override { return rule_->CheckReady(); }
  void Drop() const override { rule_->Drop(); }
  const ProcessRule* process() const override { return rule_->process(); }

 private:
  const std::unique_ptr<Reward> rule_;
  const std::string name_;
};

absl::StatusOr<std::unique_ptr<Reward>> Make(RuleConfig config) {
  std::optional<absl::StatusOr<std::unique_ptr<Reward>>> made;
  config.ForEachRule([&](const char* rule, const auto& options, const auto& make) {
    if (config.rule == rule) made = make(options);
  });
  if (made) return *std::move(made);
  const std::string nearest = Nearest(config.rule, RuleNames());
  return absl::InvalidArgumentError(
      absl::StrCat("there is no rule ", Printable(config.rule),
                   nearest.empty() ? "" : absl::StrCat(" (did you mean ", nearest, "?)"), "; the rules are ",
                   RuleNamesText()));
}

absl::Status CheckNames(const RewardConfig& config) {
  const auto named = [&](const std::string& name) {
    return std::ranges::count_if(config.rules, [&](const RuleConfig& r) { return r.Name() == name; });
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
  RuleConfig().ForEachRule([&](const char* rule, const auto&, const auto&) { names.emplace_back(rule); });
  return names;
}

const std::string& RuleNamesText() {
  static const std::string* const kText = new std::string(absl::StrJoin(RuleNames(), ", "));
  return *kText;
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

const RuleConfig& AnswerRule(const RewardConfig& config) {
  TEMPER_CHECK(!config.rules.empty(), "a reward without rules");
  for (const RuleConfig& rule : config.rules) {
    bool of_form = false;
    RuleConfig(rule).ForEachRule([&]<class Options>(const char* name, const Options&, const auto&) {
      of_form |= rule.rule == name && kOfForm<Options>;
    });
    if (!of_form) return rule;
  }
  return config.rules[0];
}

absl::Status CheckRulesReady(const std::vector<std::unique_ptr<Reward>>& rules) {
  for (const auto& rule : rules) TEMPER_RETURN_IF_ERROR(rule->CheckReady());
  return absl::OkStatus();
}

const Verdict& VerdictOf(const std::vector<Verdict>& verdicts, const std::string& rule) {
  const auto found = std::ranges::find_if(verdicts, [&](const Verdict& v) { return v.rule == rule; });
  TEMPER_CHECK(found != verdicts.end(), "no verdict of rule ", rule);
  return *found;
}

bool GateHolds(const RuleConfig& rule, const std::vector<Verdict>& verdicts) {
  if (rule.gate.empty()) return true;
  const Verdict& gate = VerdictOf(verdicts, rule.gate);
  return gate.kind == VerdictKind::kCorrect || (rule.gate_score && gate.score >= *rule.gate_score);
}

RewardSum SumOf(const std::vector<Verdict>& verdicts, const RewardConfig& config) {
  RewardSum all;
  bool judged = true;
  for (const RuleConfig& rule : config.rules) {
    const Verdict& verdict = VerdictOf(verdicts, rule.Name());
    RewardPart& part = all.parts.emplace_back();
    judged &= verdict.kind != VerdictKind::kInfrastructureError;
    part.holds = GateHolds(rule, verdicts);
    part.weight = part.holds ? rule.weight : rule.weight_otherwise;
    if (verdict.kind == VerdictKind::kTimeout) continue;
    part.value = part.weight * verdict.score;
    all.sum += part.value;
  }
  if (!judged) return all;
  all.reward = all.sum;
  if (config.min) all.reward = std::max(*all.reward, *config.min);
  if (config.max) all.reward = std::min(*all.reward, *config.max);
  return all;
}

}  // namespace temper
