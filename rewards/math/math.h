// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/config/config.h"
#include "rewards/rule.h"

namespace temper::math {

struct Options {
  std::string mode = "math_verify";
  int64_t float_rounding = 6;
  bool allow_set_relation_comp = false;

  template <class V>
  void Fields(V& v) {
    v.Field(
        "mode", mode,
        "math_verify (as Hugging Face's), strict (PRM800K's: order, lowest terms, whole numbers) or string "
        "(Hendrycks': the same string after normalisation).");
    v.Field("float_rounding", float_rounding,
            "Decimals to which a decimal number and the reference answer must agree.", Between(0, 15));
    v.Field("allow_set_relation_comp", allow_set_relation_comp,
            "An answer -2 <= x <= 7 is the reference [-2, 7], too; the other way is always allowed.");
  }
};

// Rule `math`: the completion's answer (rewards/math/answer.h) equals the reference, decided exactly
// (rewards/math/equal/equal.h). The answer is looked for after </think>, inside <answer>..</answer> where
// there is one; a completion that begins to think and never ends has none. `raw` completions are searched
// whole.
//
// mode math_verify (default): what Hugging Face's math-verify 0.9 counts as equal. strict: PRM800K's rule:
// lists keep their order, fractions are in lowest terms, a whole number is one. string: Hendrycks' MATH rule,
// the same string after normalisation (rewards/math/string.h).
//
// A reference that does not parse is CheckAnswer's error. What cannot be decided is wrong, and the reason
// begins with "undecided".
absl::StatusOr<std::unique_ptr<Reward>> MakeRule(const Options& config);

}  // namespace temper::math
