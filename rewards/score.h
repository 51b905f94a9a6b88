// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/json.h"
#include "rewards/reward.h"

namespace temper {

// The rules of `temper score --rule NAMES [--mode MODE] [--set RULE.OPTION=VALUE ..]`. `names` has commas
// between; an empty mode is each rule's default, another one needs a rule that has modes. `settings` are
// options of the rules as in a recipe: "length.max_tokens=100".
absl::StatusOr<RewardConfig> RewardByName(const std::string& names, const std::string& mode,
                                          const std::vector<std::string>& settings = {});
// The same, ready to judge.
absl::StatusOr<std::vector<std::unique_ptr<Reward>>> RulesByName(
    const std::string& names, const std::string& mode, const std::vector<std::string>& settings = {});

// One row of `temper score`: {"completion", "answer", and perhaps "id", "task", "prompt", "stop", "tokens"
// (how many, or a list of them)} ->
// {"verdict","score","extracted","reason"}, or with several rules an object of these by rule. `answer` may be
// a string, a number or absent (for rules that need none). Other keys are for rules that read the whole row.
// `name` is FILE:LINE, for errors: a row that is no such object, and a reference answer that a rule cannot
// read.
absl::StatusOr<Json> ScoreRow(const Json& row, const std::vector<std::unique_ptr<Reward>>& rules, bool raw,
                              const std::string& name);

}  // namespace temper
