// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "trainer/stage.h"

namespace temper {

// Rejection sampling (DeepSeek-R1, 2.3.3): samples the policy, keeps the completions that are good enough,
// and writes them to dataset.jsonl in the stage's directory, one
// {"prompt","completion","id","sample","reward"} a line.
absl::Status RunCollect(const StageContext& context);

}  // namespace temper
