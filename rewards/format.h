// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "rewards/reward.h"

namespace temper {

// Rule `format`: `<think>`..`</think>` then `<answer>`..`</answer>`, each tag once, in this order, and
// nothing but white space outside. Options: think_in_prompt (a <think> at the start may be missing, as the
// prompt ends with it; where the prompt's text does end with it, it must be missing). Stop by length is
// malformed. `raw` completions are malformed.
absl::StatusOr<std::unique_ptr<Reward>> MakeFormat(const RuleConfig& config);

}  // namespace temper
