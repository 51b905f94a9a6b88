// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/report/run.h"
#include "data/trajectory.h"

namespace temper {

// What a completion earned, as far as its run's config tells.
struct Earned {
  std::optional<double> reward;     // none: masked, dropped, or judged by other rules than the config's
  std::optional<double> advantage;  // of rollouts of rl stages whose rewards are not shuffled
  std::optional<bool> solved;       // by the rule of pass@1
};

// Of each trajectory of the group: a rollout's (by the rewards that the update saw) or an evaluation's.
// `stage` may be null: nothing is known.
std::vector<Earned> EarnedIn(const ReportStage* stage, const Group& group);

// The rules that judged a stage's rollouts (rl, collect), or its evaluations; null where there are none.
struct JudgedBy {
  const RewardConfig* reward = nullptr;
  std::string pass_rule;  // the name of the one that decides
};
JudgedBy RulesOf(const ReportStage& stage, bool evaluation);

// Whether a completion solves its problem: correct by that rule, with what it requires. Of records that other
// rules judged: correct by the first.
bool IsSolved(const Trajectory& trajectory, const JudgedBy& judged);

// Finds the stage of records in a run directory, by their place: RUN/STAGE/trajectories/.. or
// RUN/STAGE/evaluation/...
class StageOfRecords {
 public:
  // Null where the place is in no run directory that could be read. Valid as long as this is.
  const ReportStage* Find(const std::string& records);

 private:
  std::map<std::string, std::optional<ReportRun>> runs_;
};

}  // namespace temper
