// SPDX-License-Identifier: Apache-2.0
#include "rollout/group_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/status.h"
#include "core/text.h"

namespace temper {
namespace {

// The first infrastructure error among the verdicts; null: there is none.
const Verdict* BrokenVerdict(const Trajectory& trajectory) {
  for (const Verdict& verdict : trajectory.verdicts) {
    if (verdict.kind == VerdictKind::kInfrastructureError) return &verdict;
  }
  return nullptr;
}

absl::Status CheckJudged(const RolloutRequest& request, const std::vector<Group>& groups) {
  const Verdict* failed = nullptr;
  int64_t completions = 0;
  for (const Group& group : groups) {
    for (const Trajectory& trajectory : group.trajectories) {
      const Verdict* const broken = BrokenVerdict(trajectory);
      if (broken == nullptr) return absl::OkStatus();
      if (failed == nullptr) failed = broken;
      ++completions;
    }
  }
  if (failed == nullptr) return absl::OkStatus();
  const std::string where =
      request.stage.empty() ? "" : absl::StrCat("stage ", request.stage, ", rollout ", request.rollout, ": ");
  return absl::UnavailableError(
      absl::StrCat(where, "none of the ", completions, " completions could be judged: rule ", failed->rule,
                   ": ", Printable(failed->reason, 400), ": put that right and start again",
                   request.records.empty() ? "" : "; the run goes on from here"));
}

}  // namespace

bool Judged(const Trajectory& trajectory) { return BrokenVerdict(trajectory) == nullptr; }

absl::StatusOr<GroupTable> GroupTable::Create(const RolloutRequest& request) {
  if (request.samples_per_prompt < 1) {
    return absl::InvalidArgumentError("samples_per_prompt must be at least 1");
  }
  GroupTable table(request);
  for (size_t i = 0; i < request.prompts.size(); ++i) {
    const std::string& id = request.prompts[i].id;
    if (!table.index_.emplace(id, i).second)
      return absl::InvalidArgumentError(absl::StrCat("prompt ", Printable(id), " is there twice"));
  }
  table.samples_.resize(request.prompts.size() * request.samples_per_prompt);
  return table;
}

const Prompt* GroupTable::Find(const std::string& id) const {
  const auto at = index_.find(id);
  return at == index_.end() ? nullptr : &request_->prompts[at->second];
}

void GroupTable::Place(std::deque<Trajectory> trajectories) {
  for (Trajectory& trajectory : trajectories) {
    const size_t prompt = index_.at(trajectory.prompt_id);
    samples_.at(prompt * request_->samples_per_prompt + trajectory.sample) = std::move(trajectory);
  }
}

std::vector<int32_t> GroupTable::Missing(size_t prompt) const {
  std::vector<int32_t> missing;
  for (int64_t sample = 0; sample < request_->samples_per_prompt; ++sample) {
    if (!samples_[prompt * request_->samples_per_prompt + sample])
      missing.push_back(static_cast<int32_t>(sample));
  }
  return missing;
}

int64_t GroupTable::missing() const {
  return std::count_if(samples_.begin(), samples_.end(),
                       [](const auto& sample) { return !sample.has_value(); });
}

absl::StatusOr<std::vector<Group>> GroupTable::Finish() {
  std::vector<Group> groups;
  auto next = samples_.begin();
  for (const Prompt& prompt : request_->prompts) {
    groups.push_back({request_->stage, request_->rollout, prompt, {}});
    for (int64_t sample = 0; sample < request_->samples_per_prompt; ++sample, ++next) {
      TEMPER_CHECK(next->has_value(), "prompt ", prompt.id, ", sample ", sample);
      groups.back().trajectories.push_back(*std::move(*next));
    }
  }
  samples_.clear();
  TEMPER_RETURN_IF_ERROR(CheckJudged(*request_, groups));
  return groups;
}

}  // namespace temper
