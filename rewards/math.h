// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "rewards/reward.h"

namespace temper {

// Rule `math`: the completion's answer (rewards/math_answer.h) equals the reference, decided exactly
// (rewards/equal.h). The answer is looked for after </think>, inside <answer>..</answer> where there is one;
// a completion that begins to think and never ends has none. `raw` completions are searched whole.
//
// mode math_verify (default): what Hugging Face's math-verify 0.9 counts as equal. strict: PRM800K's rule:
// lists keep their order, fractions are in lowest terms, a whole number is one. string: Hendrycks' MATH rule,
// the same string after normalisation (rewards/math_string.h).
//
// A reference that does not parse is CheckAnswer's error. What cannot be decided is wrong, and the reason
// begins with "undecided".
absl::StatusOr<std::unique_ptr<Reward>> MakeMath(const RuleConfig& config);

}  // namespace temper
