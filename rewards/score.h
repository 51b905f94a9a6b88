// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/json/json.h"
#include "rewards/rules.h"

namespace temper {

// The reward of `temper score --rule NAMES [--mode MODE] [--set RULE.OPTION=VALUE ..]`: each rule with
// weight 1. `names` has commas between; an empty mode is each rule's default, another one needs a rule that
// has modes. `settings` are options of the rules as in a recipe: "length.max_tokens=100".
absl::StatusOr<RewardConfig> RewardByName(const std::string& names, const std::string& mode,
                                          const std::vector<std::string>& settings = {});

// One row of `temper score`: {"completion", and perhaps "answer", "id", "task", "prompt", "stop", "tokens"
// (how many, or a list of them)}; other keys are for rules that read the whole row. Does not move: its
// completion points into it.
struct ScoreRow {
  Json id;  // null: there is none
  Prompt prompt;
  std::string text;
  std::string fault;  // why the reference answer is none, or nothing: then every rule's verdict is malformed
  Completion completion;
};
// Errors, by `name` (FILE:LINE): no object, no completion, a key of the wrong type.
absl::StatusOr<std::unique_ptr<ScoreRow>> ReadScoreRow(const Json& row, bool raw, const std::string& name);

// What a row gets:
// {"id","reward","sum","rules":{NAME:{"verdict","score","weight","value","extracted","reason"}}}. weight is
// the one that counts (of a rule whose required rule does not hold: weight_otherwise), value what it adds to
// sum; reward is the sum, clipped, or null where a rule could not judge. `verdicts` are the config's rules'.
Json ScoreJson(const ScoreRow& row, const std::vector<Verdict>& verdicts, const RewardConfig& config);

}  // namespace temper
