// SPDX-License-Identifier: Apache-2.0
#include "rewards/score.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/status.h"
#include "core/text.h"
#include "rewards/completion/tags.h"

namespace temper {
namespace {

// Sets the mode of a rule that has modes; whether it has.
bool SetMode(const std::string& mode, RuleConfig* config) {
  bool set = false;
  config->ForEachRule([&](const char* rule, auto& options, const auto&) {
    if constexpr (requires { options.mode; }) {
      if (config->rule != rule) return;
      options.mode = mode;
      set = true;
    }
  });
  return set;
}

// RULE.OPTION=VALUE, as a config reads it.
absl::Status Set(const std::vector<std::string>& settings, RewardConfig* config) {
  for (const std::string& setting : settings) {
    const std::string rule = setting.substr(0, setting.find('.'));
    const auto found =
        std::ranges::find_if(config->rules, [&](const RuleConfig& r) { return r.rule == rule; });
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

absl::StatusOr<StopReason> StopByName(const std::string& stop) {
  if (stop == "eos") return StopReason::kEndOfText;
  if (stop == "length") return StopReason::kLength;
  if (stop == "stop") return StopReason::kStopString;
  return absl::InvalidArgumentError(absl::StrCat("stop is eos, length or stop, not ", Printable(stop)));
}

// How many; -1: the row does not say.
absl::StatusOr<int64_t> TokensOf(const Json& row, const std::string& name) {
  const Json* tokens = Find(row, "tokens");
  if (tokens == nullptr || tokens->is_null()) return -1;
  if (tokens->is_array()) return static_cast<int64_t>(tokens->size());
  TEMPER_ASSIGN_OR_RETURN(const int64_t count, GetInt(row, "tokens", name));
  if (count >= 0) return count;
  return absl::InvalidArgumentError(absl::StrCat(name, ": tokens is ", count, ", less than none"));
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
    if (std::ranges::find(known, rule.rule) == known.end()) return MakeRule(rule).status();
    if (!mode.empty()) taken |= SetMode(mode, &rule);
    config.rules.push_back(std::move(rule));
  }
  if (!taken) {
    return absl::InvalidArgumentError(
        absl::StrCat("--mode ", Printable(mode), ": no rule of ", Printable(names), " has modes"));
  }
  TEMPER_RETURN_IF_ERROR(Set(settings, &config));
  return config;
}

absl::StatusOr<std::unique_ptr<ScoreRow>> ReadScoreRow(const Json& row, bool raw, const std::string& name) {
  if (!row.is_object()) return absl::InvalidArgumentError(absl::StrCat(name, ": a row is an object"));
  auto read = std::make_unique<ScoreRow>();
  Prompt& prompt = read->prompt;
  TEMPER_ASSIGN_OR_RETURN(read->text, GetString(row, "completion", name));
  TEMPER_ASSIGN_OR_RETURN(prompt.task, GetString(row, "task", name, ""));
  TEMPER_ASSIGN_OR_RETURN(const std::string stop, GetString(row, "stop", name, "eos"));
  if (const Json* id = Find(row, "id")) {
    read->id = *id;
    prompt.id = id->is_string() ? id->get<std::string>() : DumpJson(*id);
  }
  if (const Json* words = Find(row, "prompt"); words && words->is_string())
    prompt.text = words->get<std::string>();
  if (const Json* answer = Find(row, "answer"); answer != nullptr && !answer->is_null()) {
    if (!answer->is_string() && !IsNumber(*answer)) {
      read->fault = "answer is neither text nor a number";
    } else {
      prompt.answer = answer->is_string() ? answer->get<std::string>() : DumpJson(*answer);
    }
  }
  prompt.fields = DumpJson(row);
  read->completion = {.prompt = &prompt, .text = read->text, .raw = raw};
  TEMPER_ASSIGN_OR_RETURN(read->completion.tokens, TokensOf(row, name));
  const absl::StatusOr<StopReason> reason = StopByName(stop);
  if (!reason.ok()) return absl::InvalidArgumentError(absl::StrCat(name, ": ", reason.status().message()));
  read->completion.stop = *reason;
  return read;
}

Json ScoreJson(const ScoreRow& row, const std::vector<Verdict>& verdicts, const RewardConfig& config) {
  const RewardSum sum = SumOf(verdicts, config);
  Json rules = Json::object();
  for (size_t i = 0; i < verdicts.size(); ++i) {
    rules[verdicts[i].rule] = Json{{"verdict", Name(verdicts[i].kind)},  {"score", verdicts[i].score},
                                   {"weight", sum.parts[i].weight},      {"value", sum.parts[i].value},
                                   {"extracted", verdicts[i].extracted}, {"reason", verdicts[i].reason}};
  }
  return Json{{"id", row.id},
              {"reward", sum.reward ? Json(*sum.reward) : Json()},
              {"sum", sum.sum},
              {"rules", std::move(rules)}};
}

}  // namespace temper
