// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "trainer/stage.h"

namespace temper {

// Prompts that are sampled, scored and on disk before the next ones begin.
constexpr int64_t kCollectedTogether = 256;

// Rejection sampling (DeepSeek-R1, 2.3.3): samples the policy, keeps the completions that are good enough,
// ended by themselves, say something, and are no other's of their prompt again, and writes them to
// dataset.jsonl in the stage's directory, one {"id","sample","reward","prompt","completion","answer","task"}
// a line. Says how many were left out, and why. An error where none is kept.
absl::Status RunCollect(const StageContext& context);

}  // namespace temper
