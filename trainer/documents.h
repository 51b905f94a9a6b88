// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/tokenizer.h"
#include "trainer/loss.h"
#include "trainer/stage.h"

namespace temper {

// The documents of an sft or pretrain stage, in the config's order, as sequences of an update. The same on
// every rank.
absl::StatusOr<std::vector<TrainSequence>> LoadDocuments(const StageContext& context,
                                                         const std::vector<DocumentsConfig>& documents,
                                                         const Tokenizer& tokenizer);

// Where a collect stage leaves its dataset.
std::string DatasetPath(const std::string& stage_directory);

// Updates that `documents` documents make, and the documents of update `step`: each pass over them has its
// own order, a function of (seed, stage, pass); the last update of a pass may be smaller.
int64_t SftSteps(int64_t documents, const SftConfig& config);
std::vector<int64_t> DocumentsOfStep(int64_t documents, const SftConfig& config, uint64_t seed,
                                     const std::string& stage, int64_t step);

}  // namespace temper
