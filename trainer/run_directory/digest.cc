// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/files/file.h"
#include "core/json/json.h"
#include "core/metrics.h"
#include "core/status.h"
#include "data/record_file.h"
#include "trainer/recipe.h"
#include "trainer/run_directory/checkpoint.h"
#include "trainer/run_directory/intact.h"
#include "trainer/run_directory/run_directory.h"

namespace temper {
namespace {

// Every part goes in with its name and length, so that no two runs have the same bytes in other places.
void Add(Sha256& hash, const std::string& name, const std::string& bytes) {
  hash.Update(absl::StrCat(name, "\n", bytes.size(), "\n"));
  hash.Update(bytes);
}

absl::Status AddFile(Sha256& hash, const std::string& name, const std::string& path) {
  TEMPER_ASSIGN_OR_RETURN(const std::string digest, Sha256OfFile(path));
  Add(hash, name, digest);
  return absl::OkStatus();
}

// Record files of a folder: which ranks wrote them does not matter.
absl::Status AddRecords(Sha256& hash, const std::string& stage, const std::string& folder) {
  if (!FileExists(folder)) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(folder));
  std::set<std::string> rollouts;
  for (const std::string& name : names) {
    const size_t rank = name.find(".rank-");
    if (rank != std::string::npos) rollouts.insert(name.substr(0, rank));
  }
  for (const std::string& rollout : rollouts) {
    TEMPER_ASSIGN_OR_RETURN(std::vector<Group> groups, ReadGroups(folder + "/" + rollout));
    std::sort(groups.begin(), groups.end(),
              [](const Group& a, const Group& b) { return a.prompt.id < b.prompt.id; });
    for (const Group& group : groups) {
      for (const Trajectory& trajectory : group.trajectories) {
        Add(hash, absl::StrCat(stage, "/", rollout, "/", group.prompt.id, "/", trajectory.sample),
            EncodeTrajectory(trajectory));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status AddMetrics(Sha256& hash, const std::string& path) {
  if (!FileExists(path)) return absl::OkStatus();
  TEMPER_ASSIGN_OR_RETURN(const std::vector<MetricsLine> lines, ReadMetrics(path));
  for (const MetricsLine& line : lines) {
    std::string text;
    for (const auto& [name, value] : line.values) {
      // Clocks, what depends on the ranks, and what depends on the kills (so does what a start was like).
      if (absl::StartsWith(name, "time/") || absl::StartsWith(name, "system/") ||
          absl::StartsWith(name, "resume/") || absl::StartsWith(name, "alarm/"))
        continue;
      absl::StrAppend(&text, name, "=", FormatDouble(value), "\n");
    }
    Add(hash, absl::StrCat("metrics/", line.stage, "/", line.step), text);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> RunDigest(const std::string& run_directory) {
  TEMPER_RETURN_IF_ERROR(CheckReadable(run_directory));
  if (!FileExists(ConfigPath(run_directory))) {
    return absl::NotFoundError(absl::StrCat(run_directory, ": is no run directory: it has no config.yaml"));
  }
  TEMPER_RETURN_IF_ERROR(CheckIntact(run_directory, IntactFor::kDigest));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> stages, ListDirectory(run_directory));
  Sha256 hash;
  for (const std::string& stage : stages) {
    const std::string directory = StageDirectory(run_directory, stage);
    TEMPER_ASSIGN_OR_RETURN(const std::string checkpoint, LatestCheckpoint(CheckpointsDirectory(directory)));
    if (!checkpoint.empty()) {
      TEMPER_ASSIGN_OR_RETURN(const std::vector<std::string> files, FilesOfCheckpoint(checkpoint));
      for (const std::string& file : files)
        TEMPER_RETURN_IF_ERROR(
            AddFile(hash, absl::StrCat(stage, "/checkpoint/", file), absl::StrCat(checkpoint, "/", file)));
    }
    TEMPER_RETURN_IF_ERROR(AddRecords(hash, stage, TrajectoriesDirectory(directory)));
    TEMPER_RETURN_IF_ERROR(AddRecords(hash, stage + "/evaluation", EvaluationDirectory(directory)));
    if (const std::string dataset = DatasetPath(directory); FileExists(dataset))
      TEMPER_RETURN_IF_ERROR(AddFile(hash, stage + "/dataset", dataset));
  }
  TEMPER_RETURN_IF_ERROR(AddMetrics(hash, MetricsPath(run_directory)));
  return hash.Finish();
}

}  // namespace temper
