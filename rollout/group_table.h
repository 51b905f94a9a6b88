// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/trajectory.h"
#include "rollout/group_source.h"

namespace temper {

// Whether no verdict is an infrastructure error.
bool Judged(const Trajectory& trajectory);

// The samples of a request as they come: from the records, then from the ranks.
class GroupTable {
 public:
  // An error where an id is there twice or no samples are asked for.
  static absl::StatusOr<GroupTable> Create(const RolloutRequest& request);

  const Prompt* Find(const std::string& id) const;  // null: it is not asked for
  void Place(std::deque<Trajectory> trajectories);  // of prompts that are
  std::vector<int32_t> Missing(size_t prompt) const;
  int64_t missing() const;

  // Once none is missing, and the table is empty then. An Unavailable error that names a rule and its reason
  // where every completion has an infrastructure error: there is nothing to learn from.
  absl::StatusOr<std::vector<Group>> Finish();

 private:
  explicit GroupTable(const RolloutRequest& request) : request_(&request) {}
  const RolloutRequest* request_;
  std::map<std::string, size_t> index_;             // of a prompt's id
  std::vector<std::optional<Trajectory>> samples_;  // [prompts, samples_per_prompt]
};

}  // namespace temper
