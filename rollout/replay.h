// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "comm/mesh.h"
#include "rollout/group_source.h"
#include "rollout/group_table.h"

namespace temper {

// Places what the records have of the request: samples of the same prompt and the request's policy version,
// with verdicts of the pool's rules; where a rule judges groups, whole ones alone. The first rank reads and
// has them, all learn what it found. What a crash left at the ends of the files is cut off. `unjudged_count`:
// false leaves out everything where nothing at all was judged (a run that stopped for that), and removes the
// files. Counts resumed and repeated samples.
absl::Status ReadRecords(const RolloutRequest& request, const RewardPool& rewards, const Mesh& mesh,
                         bool unjudged_count, GroupTable* table, RolloutCounts* counts);

// A rollout that was sampled before, by a policy that need not be there any more: all of it from the records.
// So a stage that resumes between the updates of a rollout goes on, and no engine is needed. DataLoss where
// samples are missing.
class ReplaySource : public GroupSource {
 public:
  explicit ReplaySource(const Mesh& mesh) : mesh_(mesh) {}

  absl::StatusOr<std::vector<Group>> Collect(
      const RolloutRequest& request, RewardPool& rewards,
      absl::FunctionRef<void(int64_t finished, int64_t total)> progress, absl::FunctionRef<bool()> stop,
      RolloutCounts* counts) override;

 private:
  const Mesh& mesh_;
};

}  // namespace temper
