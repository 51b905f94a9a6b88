// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/earned.h"
#include "core/json.h"
#include "data/trajectory.h"

namespace temper {

// Where records are: one file (PATH is it), or prefixes of rank files.
struct RecordPlaces {
  std::string file;
  std::vector<std::string> prefixes;

  bool empty() const { return file.empty() && prefixes.empty(); }
};

// The records that PATH means: a .records file, a prefix, a folder of record files, a stage's folder (its
// trajectories, and its evaluations), or a run directory (those of all its stages).
RecordPlaces FindRecords(const std::string& path);

// Counts of groups and trajectories, lengths, stops and verdicts: a block of lines, or of several rollouts
// and evaluations a table with a line each.
absl::StatusOr<std::string> DescribeRecords(const RecordPlaces& places);

// Writes one JSON object a trajectory: {"stage","rollout","prompt_id","task","sample","prompt","answer",
// "prompt_tokens","completion","tokens","logprobs","stop","policy_version","entropy_sum","reward","advantage",
// "solved","verdicts":[{"rule","verdict","score","extracted","reason"}]}. Logprobs are f32, printed so that
// they read back to the same bits. The three before the verdicts are null where there is none (EarnedIn).
// FILE appears whole; "-" is standard output. Returns how many.
absl::StatusOr<int64_t> ExportRecords(const RecordPlaces& places, const std::string& file);

Json TrajectoryJson(const Group& group, const Trajectory& trajectory, const Earned& earned);

// Calls `each` with what writes a line. FILE appears whole or not at all, and must not be there but as a
// regular file.
using WriteLine = absl::FunctionRef<absl::Status(const Json&)>;
absl::Status WriteTrajectories(const std::string& file, absl::FunctionRef<absl::Status(WriteLine)> each);

}  // namespace temper
