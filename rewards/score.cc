// SPDX-License-Identifier: Apache-2.0
#include "rewards/score.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/status.h"
#include "core/text.h"
#include "rewards/tags.h"

namespace temper {
namespace {

bool HasModes(const std::string& rule) {
  return rule == "accuracy" || rule == "exact" || rule == "choice" || rule == "number" || rule == "math";
}

// RULE.OPTION=VALUE, as a config reads it.
absl::Status Set(const std::vector<std::string>& settings, RewardConfig* config) {
  for (const std::string& setting : settings) {
    const std::string rule = setting.substr(0, setting.find('.'));
    const auto found = std::find_if(config->rules.begin(), config->rules.end(),
                                    [&](const RuleConfig& r) { return r.rule == rule; });
    if (found == config->rules.end() || rule.size() == setting.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--set ", Printable(setting),
                       ": expected RULE.OPTION=VALUE with a rule of --rule, such as "
                       "length.max_tokens=100"));
    }
    TEMPER_RETURN_IF_ERROR(ReadConfig("rule: " + rule, "--rule", {setting.substr(rule.size() + 1)}, *found));
  }
  return absl::OkStatus();
}

absl::Status At(const std::string& name, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(name, ": ", status.message()));
}

}  // namespace

absl::StatusOr<RewardConfig> RewardByName(const std::string& names, const std::string& mode,
                                          const std::vector<std::string>& settings) {
  const std::vector<std::string> known = RuleNames();
  RewardConfig config;
  config.rules.clear();
  bool taken = mode.empty();
  for (const std::string& part : std::vector<std::string>(absl::StrSplit(names, ','))) {
    RuleConfig rule{.rule = std::string(Trim(part))};
    if (rule.rule.empty())
      return absl::InvalidArgumentError(absl::StrCat("--rule ", Printable(names), ": a name is missing"));
    if (std::find(known.begin(), known.end(), rule.rule) == known.end()) return MakeRule(rule).status();
    if (!mode.empty() && HasModes(rule.rule)) {
      (rule.rule == "math" ? rule.math_mode : rule.mode) = mode;
      taken = true;
    }
    config.rules.push_back(std::move(rule));
  }
  if (!taken) {
    return absl::InvalidArgumentError(
        absl::StrCat("--mode ", Printable(mode), ": no rule of ", Printable(names), " has modes"));
  }
  TEMPER_RETURN_IF_ERROR(Set(settings, &config));
  return config;
}

absl::StatusOr<std::vector<std::unique_ptr<Reward>>> RulesByName(const std::string& names,
                                                                 const std::string& mode,
                                                                 const std::vector<std::string>& settings) {
  TEMPER_ASSIGN_OR_RETURN(const RewardConfig config, RewardByName(names, mode, settings));
  return MakeRules(config);
}

absl::StatusOr<Json> ScoreRow(const Json& row, const std::vector<std::unique_ptr<Reward>>& rules, bool raw,
                              const std::string& name) {
  if (!row.is_object()) return absl::InvalidArgumentError(absl::StrCat(name, ": a row is an object"));
  Prompt prompt;
  TEMPER_ASSIGN_OR_RETURN(const std::string text, GetString(row, "completion", name));
  TEMPER_ASSIGN_OR_RETURN(prompt.task, GetString(row, "task", name, ""));
  TEMPER_ASSIGN_OR_RETURN(const std::string stop, GetString(row, "stop", name, "eos"));
  if (const Json* id = Find(row, "id")) prompt.id = id->is_string() ? id->get<std::string>() : DumpJson(*id);
  if (const Json* words = Find(row, "prompt"); words && words->is_string())
    prompt.text = words->get<std::string>();
  if (const Json* answer = Find(row, "answer"); answer != nullptr && !answer->is_null()) {
    if (!answer->is_string() && !IsNumber(*answer)) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": answer is neither text nor a number"));
    }
    prompt.answer = answer->is_string() ? answer->get<std::string>() : DumpJson(*answer);
  }
  prompt.fields = DumpJson(row);
  Completion completion{.prompt = &prompt, .text = text, .raw = raw};
  if (const Json* tokens = Find(row, "tokens"); tokens != nullptr && tokens->is_array()) {
    completion.tokens = static_cast<int64_t>(tokens->size());
  } else {
    TEMPER_ASSIGN_OR_RETURN(completion.tokens, GetInt(row, "tokens", name, 0));
  }
  if (stop == "length") {
    completion.stop = StopReason::kLength;
  } else if (stop == "stop") {
    completion.stop = StopReason::kStopString;
  } else if (stop != "eos") {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": stop is eos, length or stop, not ", Printable(stop)));
  }

  Json by_rule = Json::object();
  for (const auto& rule : rules) {
    if (const absl::Status status = rule->CheckAnswer(prompt); !status.ok()) return At(name, status);
    const Verdict verdict = JudgeSafely(*rule, completion);
    by_rule[rule->name()] = Json{{"verdict", Name(verdict.kind)},
                                 {"score", verdict.score},
                                 {"extracted", verdict.extracted},
                                 {"reason", verdict.reason}};
  }
  return rules.size() == 1 ? by_rule[rules[0]->name()] : by_rule;
}

}  // namespace temper
