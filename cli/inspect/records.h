// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/earned.h"
#include "core/files/file.h"
#include "core/json/json.h"
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
// "prompt_tokens","completion","tokens","logprobs","stop","segments":[{"kind","first","count",
// "policy_version"}],"entropy_sum","reward","advantage","solved","verdicts":[{"rule","verdict","score",
// "extracted","reason"}]}. Logprobs are f32, one a token, printed so that they read back to the same bits;
// null for tokens that were given. The three before the verdicts are null where there is none (EarnedIn).
// FILE appears whole; "-" is standard output. `path`: what the places are of. Returns how many.
absl::StatusOr<int64_t> ExportRecords(const std::string& path, const RecordPlaces& places,
                                      const std::string& file);

Json TrajectoryJson(const Group& group, const Trajectory& trajectory, const Earned& earned);

// A file of lines that appears whole with Commit, or not at all.
class LinesFile {
 public:
  // Opened before the work that fills it, so that a file that cannot be written costs nothing. An error where
  // something else than a regular file is at `path`, or one of the `inputs` (CheckOutput).
  static absl::StatusOr<std::unique_ptr<LinesFile>> Create(const std::string& path,
                                                           const std::vector<std::string>& inputs);
  absl::Status Write(const Json& json);
  absl::Status Commit() { return file_->Commit(); }

 private:
  explicit LinesFile(std::unique_ptr<AtomicFile> file) : file_(std::move(file)) {}
  const std::unique_ptr<AtomicFile> file_;
  int64_t bytes_ = 0;
};

}  // namespace temper
