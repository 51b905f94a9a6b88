// SPDX-License-Identifier: Apache-2.0
#include "cli/report/groups.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/earned.h"
#include "cli/report/completion.h"
#include "core/text.h"
#include "data/record_file.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

constexpr size_t kPromptsPerTask = 2, kPrompts = 4;
constexpr size_t kGroupsPerTask = 1, kGroups = 2;
constexpr size_t kCompletions = 16;
constexpr size_t kPromptLimit = 2000;

// Damaged records are no reason to have no report.
std::vector<Group> GroupsOf(const std::string& prefix, ReportRun& run) {
  absl::StatusOr<std::vector<Group>> groups = ReadGroups(prefix);
  if (groups.ok()) return *std::move(groups);
  run.notes.push_back(Printable(std::string(groups.status().message())));
  return {};
}

// Indices of the first `per_task` groups of each task, in order, at most `most`.
std::vector<size_t> FirstOfEachTask(const std::vector<Group>& groups, size_t per_task, size_t most) {
  std::map<std::string, size_t> taken;
  std::vector<size_t> chosen;
  for (size_t i = 0; i < groups.size() && chosen.size() < most; ++i) {
    if (!groups[i].trajectories.empty() && taken[groups[i].prompt.task]++ < per_task) chosen.push_back(i);
  }
  return chosen;
}

int64_t Correct(const Group& group, const JudgedBy& judged) {
  return std::count_if(group.trajectories.begin(), group.trajectories.end(),
                       [&](const Trajectory& trajectory) { return IsSolved(trajectory, judged); });
}

Json Heading(const Group& group) {
  return {{"prompt", Shortened(group.prompt.text, kPromptLimit)},
          {"answer", Shortened(group.prompt.answer, kPromptLimit)},
          {"task", group.prompt.task}};
}

Json GroupJson(const ReportStage& stage, const Group& group, const CompletionWriter& writer) {
  const std::vector<Earned> earned = EarnedIn(&stage, group);
  const JudgedBy judged = RulesOf(stage, /*evaluation=*/false);
  Json json = Heading(group);
  json["correct"] = Correct(group, judged);
  json["samples"] = group.trajectories.size();
  json["completions"] = Json::array();
  for (size_t i = 0; i < group.trajectories.size() && i < kCompletions; ++i) {
    json["completions"].push_back(
        writer.Write(group.trajectories[i], earned[i], IsSolved(group.trajectories[i], judged)));
  }
  return json;
}

// First, middle and last, each once.
std::vector<std::string> Chosen(const std::vector<std::string>& prefixes) {
  std::vector<std::string> chosen;
  if (prefixes.empty()) return chosen;
  for (const size_t i : {size_t{0}, prefixes.size() / 2, prefixes.size() - 1}) {
    if (chosen.empty() || prefixes[i] != chosen.back()) chosen.push_back(prefixes[i]);
  }
  return chosen;
}

}  // namespace

Json SamePrompts(ReportRun& run) {
  Json prompts = Json::array();
  std::map<std::string, size_t> by_id;
  for (const ReportStage& stage : run.stages) {
    const std::vector<Group> groups = GroupsOf(EvaluationRecords(stage.directory, "held_out"), run);
    if (groups.empty()) continue;
    if (by_id.empty()) {
      for (const size_t i : FirstOfEachTask(groups, kPromptsPerTask, kPrompts)) {
        by_id[groups[i].prompt.id] = prompts.size();
        prompts.push_back(Heading(groups[i]));
        prompts.back()["stages"] = Json::array();
      }
    }
    const CompletionWriter writer(run, stage);
    const JudgedBy judged = RulesOf(stage, /*evaluation=*/true);
    for (const Group& group : groups) {
      const auto found = by_id.find(group.prompt.id);
      if (found == by_id.end() || group.trajectories.empty()) continue;
      prompts[found->second]["stages"].push_back(
          {{"stage", stage.name},
           {"correct", Correct(group, judged)},
           {"samples", group.trajectories.size()},
           {"completion", writer.Write(group.trajectories[0], {}, IsSolved(group.trajectories[0], judged))}});
    }
  }
  return prompts;
}

Json RolloutGroups(ReportRun& run, int64_t budget) {
  Json stages = Json::array();
  for (const ReportStage& stage : run.stages) {
    const std::vector<std::string> prefixes = RecordPrefixes(TrajectoriesDirectory(stage.directory));
    if (prefixes.empty() || stage.kind() != "rl") continue;
    const CompletionWriter writer(run, stage);
    Json rollouts = Json::array();
    for (const std::string& prefix : Chosen(prefixes)) {
      const std::vector<Group> groups = GroupsOf(prefix, run);
      Json chosen = Json::array();
      for (const size_t i : FirstOfEachTask(groups, kGroupsPerTask, kGroups)) {
        Json group = GroupJson(stage, groups[i], writer);
        const int64_t size = DumpJson(group).size();
        if (size > budget) continue;
        budget -= size;
        chosen.push_back(std::move(group));
      }
      if (chosen.empty()) continue;
      rollouts.push_back(
          {{"rollout", groups[0].rollout}, {"of", prefixes.size()}, {"groups", std::move(chosen)}});
    }
    if (!rollouts.empty()) stages.push_back({{"stage", stage.name}, {"rollouts", std::move(rollouts)}});
  }
  return stages;
}

}  // namespace temper
