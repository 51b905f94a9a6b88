// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/json/json.h"
#include "data/trajectory.h"
#include "rewards/rules.h"
#include "rewards/statistics.h"
#include "trainer/config/recipe.h"

namespace temper {

// Whether a completion is correct by the rule, and what the rule requires holds.
bool IsSolvedBy(const RuleConfig& rule, const Trajectory& trajectory);

// What completions are measured by: the rules of a reward, one of which says whether a completion solves its
// problem.
class Measure {
 public:
  // `pass_rule`: the name of that rule; empty: AnswerRule. Errors: MakeRules', and a name that is no rule's.
  static absl::StatusOr<Measure> Create(const RewardConfig& reward, const std::string& pass_rule);

  const RewardConfig& reward() const { return reward_; }
  // The rule of pass@1, by its name.
  const std::string& pass_rule() const { return pass_rule_; }

  // Whether the rule of pass@1 says so.
  bool Solves(const Trajectory& trajectory) const;

  struct Figures {
    Statistics statistics;
    std::optional<double> reward;                        // mean; none: no completion has one
    std::vector<std::pair<std::string, double>> scores;  // by rule, mean; rules that never judged left out
    int64_t unjudged = 0;  // completions that an infrastructure error left without a verdict; in no figure
  };
  Figures Of(const std::vector<Group>& groups) const;

  // Figures as named values after `prefix` ("hard/", "eval/"), docs/metrics.md: k, problems, pass@1,
  // pass@1_error, pass@1_lenient (where the form can be ignored), pass@k, cons@k (of rules with an answer to
  // vote for), format, length_mean, .., language, and reward/RULE of rules that none of these tells of.
  void Append(const Figures& figures, const std::string& prefix, Json* row) const;

 private:
  Measure() = default;
  Outcome OutcomeOf(const Prompt& prompt, const Trajectory& trajectory) const;
  const RuleConfig& rule() const;
  bool Votes() const;
  bool IsOwnFigure(const std::string& name) const;
  bool HasLenient() const { return lenient_ != nullptr || !rule().gate.empty(); }

  RewardConfig reward_;
  std::string pass_rule_;
  std::shared_ptr<const Reward> lenient_;  // the rule in mode lenient; null: it has none
};

// The recipe as it runs: before each stage that trains a model directory, once for each way of measuring, an
// eval stage NAME.before that measures it (evaluation.before), by the same rules as that stage.
RecipeConfig WithMeasuredStarts(const RecipeConfig& recipe);

// The rules that a stage is measured by: its evaluation's own where it names some, else those that train it;
// of stages that no reward trains those of the last rl stage before, else of the first after, else the
// recipe's `rl.reward`. `stage` is one of the recipe's.
const RewardConfig& EvaluationReward(const RecipeConfig& recipe, const StageConfig& stage);

}  // namespace temper
