// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "rewards/reward.h"

namespace temper {

// Rule `length`. Shape overlong: the score is 1 up to max_tokens - slack_tokens, falls on a line to 0 at
// max_tokens, and stays there (DAPO's soft overlong punishment, arXiv 2503.14476, shifted from [-1, 0] to [0,
// 1]). Shape cosine: (1 + cos(pi tokens / max_tokens)) / 2, 0 from max_tokens on ("Demystifying Long
// Chain-of-Thought Reasoning", arXiv 2502.03373, of which it is the wave; where it hangs on the answer,
// weights make the rest: docs/rewards.md). Correct where the completion is shorter than max_tokens (overlong:
// where the score is 1).
absl::StatusOr<std::unique_ptr<Reward>> MakeLength(const RuleConfig& config);

// Rule `repetition`: the share of n-grams of words that are different; 1 for texts shorter than an n-gram.
// Words are split at white space, and each Chinese, Japanese or Thai character is one. The first 200,000
// words count.
absl::StatusOr<std::unique_ptr<Reward>> MakeRepetition(const RuleConfig& config);

}  // namespace temper
