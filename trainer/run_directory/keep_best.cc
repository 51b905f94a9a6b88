// SPDX-License-Identifier: Apache-2.0
#include "trainer/run_directory/keep_best.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/status.h"
#include "core/text.h"
#include "trainer/measure.h"
#include "trainer/rl_metrics.h"
#include "trainer/sft.h"

namespace temper {
namespace {

constexpr char kEvaluations[] = "eval/";

// The row of an update of one completion that every rule has judged.
Figures RowOf(const StageConfig& stage) {
  if (stage.kind != StageKind::kRl) return SftFigures({}, 0, 0);
  Trajectory trajectory;
  for (const RuleConfig& rule : stage.rl.reward.rules)
    trajectory.verdicts.push_back({rule.Name(), VerdictKind::kCorrect, 1, "", ""});
  RlFigures figures;
  figures.batch.groups = {0};
  Group group;
  group.trajectories = {trajectory};
  return figures.Row({group}, {{1.0}}, {});
}

absl::StatusOr<std::vector<std::string>> NamesOf(const RecipeConfig& recipe, const StageConfig& stage) {
  std::vector<std::string> names;
  for (const auto& [name, value] : RowOf(stage)) names.push_back(name);
  const EvaluationConfig& evaluation = stage.evaluation;
  const bool evaluated = evaluation.during_every > 0 && evaluation.HeldOutProblems() > 0;
  if (stage.kind != StageKind::kRl || !evaluated) return names;
  TEMPER_ASSIGN_OR_RETURN(const Measure measure,
                          Measure::Create(EvaluationReward(recipe, stage), evaluation.pass_rule));
  Measure::Figures figures;
  for (const RuleConfig& rule : measure.reward().rules) figures.scores.emplace_back(rule.Name(), 1);
  Json row = Json::object();
  measure.Append(figures, kEvaluations, &row);
  for (const auto& [name, value] : row.items()) names.push_back(name);
  return names;
}

}  // namespace

absl::Status CheckKeepBest(const RecipeConfig& recipe, const StageConfig& stage,
                           const UpdatesConfig& updates) {
  const std::string name(absl::StripPrefix(updates.keep_best, "-"));
  if (updates.keep_best.empty()) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesOf(recipe, stage));
  if (std::find(names.begin(), names.end(), name) != names.end()) return absl::OkStatus();
  const std::string nearest = Nearest(name, names);
  const bool has_evaluations = std::any_of(
      names.begin(), names.end(), [](const std::string& n) { return absl::StartsWith(n, kEvaluations); });
  std::string advice;
  if (absl::StartsWith(name, kEvaluations) && !has_evaluations) {
    advice = stage.kind == StageKind::kRl ? ", which is not evaluated: set evaluation.during_every"
                                          : ", which are not evaluated while it trains";
  } else if (!nearest.empty()) {
    advice = absl::StrCat("; did you mean ", nearest, "?");
  }
  return absl::InvalidArgumentError(absl::StrCat(Printable(name), " is no figure of its updates", advice));
}

}  // namespace temper
