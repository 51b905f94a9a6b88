// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "rewards/reward.h"

namespace temper {

// Rule `format`: the sections of option tags, by default `<think>`..`</think>` then `<answer>`..`</answer>`:
// each tag once, in this order, nothing but white space outside, and something in the last section. Options:
// think_in_prompt (the first tag may be missing, as the prompt ends with it; where the prompt's text does end
// with it, it must be missing), text_after (some text follows the last section: DeepSeek-R1's summary, with
// tags [think]). Stop by length is malformed. `raw` completions are malformed.
absl::StatusOr<std::unique_ptr<Reward>> MakeFormat(const RuleConfig& config);

}  // namespace temper
