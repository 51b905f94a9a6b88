// SPDX-License-Identifier: Apache-2.0
#include "rollout/replay.h"

#include <algorithm>
#include <deque>

#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/status.h"
#include "core/text.h"
#include "data/record_file.h"
#include "rollout/exchange.h"

namespace temper {
namespace {

bool SamePrompt(const Prompt& a, const Prompt& b) {
  return a.tokens == b.tokens && a.text == b.text && a.answer == b.answer && a.task == b.task &&
         a.fields == b.fields;
}

std::vector<std::string> RulesOf(const std::vector<Verdict>& verdicts) {
  std::vector<std::string> rules;
  for (const Verdict& verdict : verdicts) rules.push_back(verdict.rule);
  return rules;
}

// Whether it is a sample of this request, all of it of its policy version.
bool Usable(const Trajectory& trajectory, const RolloutRequest& request) {
  return std::all_of(
             trajectory.segments.begin(), trajectory.segments.end(),
             [&](const Segment& segment) { return segment.policy_version == request.policy_version; }) &&
         trajectory.sample < request.samples_per_prompt && trajectory.sampled() >= 1 &&
         trajectory.sampled() <= request.sampling.max_new_tokens;
}

absl::Status Read(const RolloutRequest& request, const RewardPool& rewards, const GroupTable& table,
                  std::deque<Trajectory>* found, int64_t* repeated) {
  TEMPER_RETURN_IF_ERROR(CutTails(request.records));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<Group> groups, ReadGroups(request.records));
  for (const Group& group : groups) {
    if (group.stage != request.stage || group.rollout != request.rollout) continue;
    const Prompt* const prompt = table.Find(group.prompt.id);
    if (prompt == nullptr) continue;
    if (!SamePrompt(group.prompt, *prompt)) {
      return absl::FailedPreconditionError(absl::StrCat(
          Printable(request.records, 1000), ".rank-*.records: prompt ", Printable(group.prompt.id),
          " is there with other tokens or another answer: were they written by another run? Move them away"));
    }
    std::vector<const Trajectory*> usable;
    for (const Trajectory& trajectory : group.trajectories) {
      if (Usable(trajectory, request) && RulesOf(trajectory.verdicts) == rewards.rule_names())
        usable.push_back(&trajectory);
    }
    // A rule that compares the samples of a prompt has to see them all again.
    if (rewards.judges_groups() && static_cast<int64_t>(usable.size()) < request.samples_per_prompt)
      usable.clear();
    for (const Trajectory* trajectory : usable) found->push_back(*trajectory);
    *repeated += static_cast<int64_t>(group.trajectories.size() - usable.size());
  }
  return absl::OkStatus();
}

absl::Status StartOver(const RolloutRequest& request, std::deque<Trajectory>* found, int64_t* repeated) {
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> files, RecordFiles(request.records));
  for (const std::string& file : files) TEMPER_RETURN_IF_ERROR(RemoveTree(file));
  *repeated += static_cast<int64_t>(found->size());
  found->clear();
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadRecords(const RolloutRequest& request, const RewardPool& rewards, const Mesh& mesh,
                         bool unjudged_count, GroupTable* table, RolloutCounts* counts) {
  if (request.records.empty()) return absl::OkStatus();
  std::deque<Trajectory> found;
  absl::Status status;
  if (mesh.dp_rank() == 0 && mesh.mates().rank() == 0) {
    status = Read(request, rewards, *table, &found, &counts->repeated_samples);
    const bool none = !found.empty() && std::none_of(found.begin(), found.end(), Judged);
    if (status.ok() && none && !unjudged_count)
      status = StartOver(request, &found, &counts->repeated_samples);
  }
  absl::StatusOr<std::deque<Trajectory>> shared = ShareWithMates(mesh.mates(), status, std::move(found));
  if (shared.ok()) found = *std::move(shared);
  TEMPER_ASSIGN_OR_RETURN(found, Exchange(mesh.dp(), shared.status(), std::move(found)));
  counts->resumed_samples = static_cast<int64_t>(found.size());
  table->Place(std::move(found));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Group>> ReplaySource::Collect(
    const RolloutRequest& request, RewardPool& rewards,
    absl::FunctionRef<void(int64_t finished, int64_t total)> progress, absl::FunctionRef<bool()> stop,
    RolloutCounts* counts) {
  *counts = {};
  TEMPER_ASSIGN_OR_RETURN(GroupTable table, GroupTable::Create(request));
  TEMPER_RETURN_IF_ERROR(ReadRecords(request, rewards, mesh_, /*unjudged_count=*/true, &table, counts));
  if (const int64_t missing = table.missing(); missing > 0) {
    return absl::DataLossError(absl::StrCat(
        Printable(request.records, 1000), ".rank-*.records: ", missing, " samples of policy version ",
        request.policy_version, " are missing, and the policy has moved on: go back to an older checkpoint"));
  }
  return table.Finish();
}

}  // namespace temper
