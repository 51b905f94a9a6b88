// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/crc32c.h"
#include "core/json.h"
#include "core/metrics.h"
#include "trainer/stage.h"
#include "trainer/sums.h"

namespace temper {

// What stage.json says of a finished stage. It is written last, and carries the sums of what the stage left:
// of metrics.jsonl and sums.jsonl up to here, and of its last checkpoint's state.json, which carries those of
// the checkpoint's files.
struct FinishedStage {
  Extent metrics;
  Json row;  // of the stage table
};
absl::Status WriteFinished(const StageContext& context, const Json& row);
absl::StatusOr<FinishedStage> ReadFinished(const std::string& stage_directory);

// Whether all that a run left, and that it would go on from, is what it wrote: DataLoss names the first file
// that is not, before anything trains. With `fall_back` (only for the process that holds the run's lock) a
// damaged newest checkpoint of a stage that is not finished is renamed to step-NNNNNN.damaged, with a
// warning, where an older one is whole. An empty folder is in order.
absl::Status CheckIntact(const std::string& run_directory, bool fall_back, const OnBytes& on_bytes = nullptr);

}  // namespace temper
