// SPDX-License-Identifier: Apache-2.0
#include "cli/earned.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "trainer/measure.h"
#include "trainer/update/advantage.h"
#include "trainer/update_batch.h"

namespace temper {
namespace {

// Whether each rule of the config judged it: an old run's records may have other rules.
bool HasVerdicts(const Trajectory& trajectory, const RewardConfig& reward) {
  return std::all_of(reward.rules.begin(), reward.rules.end(), [&](const RuleConfig& rule) {
    return std::any_of(trajectory.verdicts.begin(), trajectory.verdicts.end(),
                       [&](const Verdict& verdict) { return verdict.rule == rule.Name(); });
  });
}

}  // namespace

JudgedBy RulesOf(const ReportStage& stage, bool evaluation) {
  if (!stage.config) return {};
  const StageConfig& config = *stage.config;
  const RewardConfig* reward = nullptr;
  if (evaluation && stage.measured_by) reward = &*stage.measured_by;
  if (!evaluation && config.kind == StageKind::kRl) reward = &config.rl.reward;
  if (!evaluation && config.kind == StageKind::kCollect) reward = &config.collect.reward;
  if (reward == nullptr || reward->rules.empty()) return {};
  const std::string& named = config.evaluation.pass_rule;
  return {reward, evaluation && !named.empty() ? named : AnswerRule(*reward).Name()};
}

std::vector<Earned> EarnedIn(const ReportStage* stage, const Group& group) {
  std::vector<Earned> earned(group.trajectories.size());
  if (stage == nullptr) return earned;
  const bool evaluation = absl::StartsWith(group.stage, "evaluation/");
  const JudgedBy judged = RulesOf(*stage, evaluation);
  if (judged.reward == nullptr) return earned;
  std::vector<std::optional<double>> rewards;
  for (size_t i = 0; i < earned.size(); ++i) {
    const Trajectory& trajectory = group.trajectories[i];
    if (HasVerdicts(trajectory, *judged.reward)) {
      earned[i].solved = IsSolved(trajectory, judged);
      const bool trains = !evaluation && stage->config->kind == StageKind::kRl;
      if (!trains || !IsMasked(trajectory, stage->config->rl))
        earned[i].reward = RewardOf(trajectory.verdicts, *judged.reward);
    }
    rewards.push_back(earned[i].reward);
  }
  if (evaluation || stage->config->kind != StageKind::kRl || stage->config->rl.shuffle_rewards) return earned;
  const std::vector<double> advantages = GroupAdvantages(rewards, stage->config->rl.advantage);
  for (size_t i = 0; i < earned.size(); ++i) {
    if (rewards[i]) earned[i].advantage = advantages[i];
  }
  return earned;
}

bool IsSolved(const Trajectory& trajectory, const JudgedBy& judged) {
  if (judged.reward == nullptr || !HasVerdicts(trajectory, *judged.reward))
    return !trajectory.verdicts.empty() && trajectory.verdicts[0].kind == VerdictKind::kCorrect;
  for (const RuleConfig& rule : judged.reward->rules) {
    if (rule.Name() == judged.pass_rule) return IsSolvedBy(rule, trajectory);
  }
  return false;
}

const ReportStage* StageOfRecords::Find(const std::string& records) {
  const std::filesystem::path stage = std::filesystem::path(records).parent_path().parent_path();
  const std::string run = stage.parent_path().string();
  auto found = runs_.find(run);
  if (found == runs_.end()) {
    found = runs_.emplace(run, std::nullopt).first;
    if (absl::StatusOr<ReportRun> read = ReadReportRun(run.empty() ? "." : run); read.ok())
      found->second = *std::move(read);
  }
  return found->second ? found->second->Find(stage.filename().string()) : nullptr;
}

}  // namespace temper
