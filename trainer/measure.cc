// SPDX-License-Identifier: Apache-2.0
#include "trainer/measure.h"

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/status.h"
#include "core/text.h"
#include "rewards/answer/answer.h"

namespace temper {
namespace {

// Rules whose answer stands in <answer> in mode strict, and wherever it is found in mode lenient.
bool HasStrictMode(const std::string& rule) {
  return rule == "accuracy" || rule == "exact" || rule == "choice" || rule == "number";
}

}  // namespace

absl::StatusOr<Measure> Measure::Create(const RewardConfig& reward, const std::string& pass_rule) {
  TEMPER_RETURN_IF_ERROR(MakeRules(reward).status());
  Measure measure;
  measure.reward_ = reward;
  measure.pass_rule_ = pass_rule.empty() ? AnswerRule(reward).Name() : pass_rule;
  std::vector<std::string> names;
  for (const RuleConfig& rule : reward.rules) names.push_back(rule.Name());
  if (std::find(names.begin(), names.end(), measure.pass_rule_) == names.end()) {
    const std::string nearest = Nearest(pass_rule, names);
    return absl::InvalidArgumentError(absl::StrCat(
        Printable(pass_rule, 60), " is none of the rules that measure, ", absl::StrJoin(names, ", "),
        nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?")));
  }
  if (RuleConfig rule = measure.rule(); HasStrictMode(rule.rule) && rule.answer.mode == "strict") {
    rule.answer.mode = "lenient";
    TEMPER_ASSIGN_OR_RETURN(measure.lenient_, MakeRule(rule));
  }
  return measure;
}

const RuleConfig& Measure::rule() const {
  return *std::find_if(reward_.rules.begin(), reward_.rules.end(),
                       [&](const RuleConfig& rule) { return rule.Name() == pass_rule_; });
}

// A program is no answer that a majority could agree on, and what follows instructions has none.
bool Measure::Votes() const {
  return HasStrictMode(rule().rule) || rule().rule == "math" || rule().rule == "process";
}

// Whether a rule's mean score is a figure by the rule's own name.
bool Measure::IsOwnFigure(const std::string& name) const {
  return std::any_of(reward_.rules.begin(), reward_.rules.end(), [&](const RuleConfig& rule) {
    return rule.Name() == name && rule.rule == name && (name == "format" || name == "language");
  });
}

bool IsSolvedBy(const RuleConfig& rule, const Trajectory& trajectory) {
  return VerdictOf(trajectory.verdicts, rule.Name()).kind == VerdictKind::kCorrect &&
         GateHolds(rule, trajectory.verdicts);
}

bool Measure::Solves(const Trajectory& trajectory) const { return IsSolvedBy(rule(), trajectory); }

Outcome Measure::OutcomeOf(const Prompt& prompt, const Trajectory& trajectory) const {
  const Verdict& verdict = VerdictOf(trajectory.verdicts, pass_rule_);
  Outcome outcome;
  outcome.correct = Solves(trajectory);
  outcome.correct_lenient = verdict.kind == VerdictKind::kCorrect;
  if (!outcome.correct_lenient && lenient_ != nullptr) {
    const Completion completion{.prompt = &prompt, .text = trajectory.text, .stop = trajectory.stop};
    outcome.correct_lenient = JudgeSafely(*lenient_, completion).kind == VerdictKind::kCorrect;
  }
  outcome.checks = LooksBack(trajectory.text);
  outcome.cut = trajectory.stop == StopReason::kLength;
  if (Votes() && GateHolds(rule(), trajectory.verdicts)) outcome.key = AnswerKey(verdict.extracted);
  outcome.tokens = trajectory.sampled();
  return outcome;
}

Measure::Figures Measure::Of(const std::vector<Group>& groups) const {
  Figures figures;
  Outcomes outcomes;
  std::map<std::string, std::pair<double, double>> sums;  // rule -> scores, verdicts
  double reward = 0, rewarded = 0;
  for (const Group& group : groups) {
    std::vector<Outcome> samples;
    for (const Trajectory& trajectory : group.trajectories) {
      for (const Verdict& verdict : trajectory.verdicts) {
        if (verdict.kind == VerdictKind::kInfrastructureError) continue;
        sums[verdict.rule].first += verdict.score;
        sums[verdict.rule].second += 1;
      }
      const std::optional<double> earned = RewardOf(trajectory.verdicts, reward_);
      reward += earned.value_or(0);
      rewarded += earned.has_value() ? 1 : 0;
      if (VerdictOf(trajectory.verdicts, pass_rule_).kind == VerdictKind::kInfrastructureError) {
        ++figures.unjudged;
      } else {
        samples.push_back(OutcomeOf(group.prompt, trajectory));
      }
    }
    if (!samples.empty()) outcomes.push_back(std::move(samples));
  }
  figures.statistics = Evaluate(outcomes);
  if (rewarded > 0) figures.reward = reward / rewarded;
  for (const RuleConfig& rule : reward_.rules) {
    const auto& [score, verdicts] = sums[rule.Name()];
    if (verdicts > 0) figures.scores.emplace_back(rule.Name(), score / verdicts);
  }
  return figures;
}

void Measure::Append(const Figures& figures, const std::string& prefix, Json* row) const {
  const Statistics& s = figures.statistics;
  const auto put = [&](const std::string& name, double value) { (*row)[prefix + name] = value; };
  const auto put_score = [&](const std::string& rule) {
    for (const auto& [name, score] : figures.scores) {
      if (name == rule && IsOwnFigure(name)) put(name, score);
    }
  };
  (*row)[prefix + "k"] = s.k;
  (*row)[prefix + "problems"] = s.problems;
  put("pass@1", s.pass_1);
  put("pass@1_error", s.pass_1_error);
  if (HasLenient()) put("pass@1_lenient", s.pass_1_lenient);
  put("pass@k", s.pass_k);
  if (Votes()) put("cons@k", s.cons_k);
  put_score("format");
  put("length_mean", s.length_mean);
  put("length_p10", s.length_p10);
  put("length_p50", s.length_p50);
  put("length_p90", s.length_p90);
  put("checks", s.checks);
  put("cut", s.cut);
  put_score("language");
  for (const auto& [name, score] : figures.scores) {
    const bool told = IsOwnFigure(name) || (name == pass_rule_ && HasStrictMode(rule().rule));
    if (!told) put("reward/" + name, score);
  }
  if (figures.unjudged > 0) put("unjudged", static_cast<double>(figures.unjudged));
}

const RewardConfig& EvaluationReward(const RecipeConfig& recipe, const StageConfig& stage) {
  if (stage.evaluation.reward) return *stage.evaluation.reward;
  if (stage.kind == StageKind::kRl) return stage.rl.reward;
  const RewardConfig* before = nullptr;
  const RewardConfig* after = nullptr;
  bool passed = false;
  for (const StageConfig& other : recipe.stages) {
    passed |= other.name == stage.name;
    if (other.kind != StageKind::kRl) continue;
    if (!passed) before = &other.rl.reward;
    if (passed && after == nullptr) after = &other.rl.reward;
  }
  return before != nullptr ? *before : after != nullptr ? *after : recipe.rl.reward;
}

RecipeConfig WithMeasuredStarts(const RecipeConfig& recipe) {
  RecipeConfig with = recipe;
  with.stages.clear();
  std::set<std::string> measured;
  for (const StageConfig& stage : recipe.stages) {
    const bool trains = stage.kind != StageKind::kCollect && stage.kind != StageKind::kEval;
    const bool directory = !stage.from.empty() && recipe.StageBefore(stage) == nullptr;
    if (trains && directory && stage.evaluation.before && stage.evaluation.HeldOutProblems() > 0) {
      StageConfig before;
      before.name = stage.name + ".before";
      before.kind = StageKind::kEval;
      before.from = stage.from;
      before.evaluation = stage.evaluation;
      before.evaluation.reward = EvaluationReward(recipe, stage);
      const bool is_new =
          measured.insert(absl::StrCat(stage.from, "\n", WriteConfig(before.evaluation))).second;
      if (is_new) with.stages.push_back(std::move(before));
    }
    with.stages.push_back(stage);
  }
  return with;
}

}  // namespace temper
