// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/files/crc32c.h"
#include "core/json/json.h"
#include "core/metrics.h"
#include "trainer/run_directory/sums.h"
#include "trainer/stage.h"

namespace temper {

// An error that names what was removed, while this stage runs, of that which a start goes on from:
// config.yaml, files.json, what the finished stages before this one left, this one's records, the reference
// policy of `state`. By names and sizes, but for the first two; for the first rank.
absl::Status CheckThere(const StageContext& context, const TrainingState& state);

// Whether a file that a finished stage wrote for later ones (a dataset) is what it wrote.
absl::Status CheckFileOfFinished(const std::string& stage_directory, const std::string& path);

// What stage.json says of a finished stage. It is written last, and carries the sums of what the stage left:
// of metrics.jsonl and sums.jsonl up to here, and of its last checkpoint's state.json, which carries those of
// the checkpoint's files.
struct FinishedStage {
  Extent metrics;
  Json row;  // of the stage table
};
absl::Status WriteFinished(const StageContext& context, const Json& row);
absl::StatusOr<FinishedStage> ReadFinished(const std::string& stage_directory);

// summary.json: the rows of finished stages, a line each.
std::string SummaryText(const Json& rows);

// Whether what a run left is what it wrote: DataLoss names the first file that is not. An empty folder is in
// order.
enum class IntactFor {
  // All that a start goes on from, before anything trains; only for the process that holds the run's lock. A
  // damaged newest checkpoint of a stage that is not finished is renamed to step-NNNNNN.damaged, with a
  // warning, where an older one is whole.
  kStart,
  // All that has a checksum, older checkpoints too. Nothing is changed.
  kDigest,
};
absl::Status CheckIntact(const std::string& run_directory, IntactFor what,
                         const FileReader& reader = FileReader());

}  // namespace temper
