// SPDX-License-Identifier: Apache-2.0
// Whether an answer is the gold answer: the same number, function, set, relation or matrix, however it is
// written.
#pragma once

#include <string>

#include "rewards/math/expression.h"

namespace temper::math {

// kUnknown is no wrong answer: the reason says what stood in the way ("too large: ..", "undefined: ..",
// "cannot tell: ..").
enum class Equality { kYes, kNo, kUnknown };

struct Decision {
  Equality equality = Equality::kUnknown;
  std::string reason;
};

// The defaults are math-verify's (its `verify`).
struct EqualOptions {
  int float_rounding = 6;                  // decimals, where one side is a decimal number
  bool sets_are_not_tuples = false;        // else {1, 2} is (1, 2), in this order; the list 1, 2 always is
  bool answer_relation_is_set = false;     // an answer -2 <= x <= 7 is the gold [-2, 7]; the other way always
  bool ordered_lists = false;              // 1, 2 is not 2, 1
  bool integers_as_integers = false;       // a gold integer wants one as the answer: 4 is not 8/2
  bool fractions_in_lowest_terms = false;  // 2/4 is not 1/2

  // PRM800K's rule, which most other graders follow.
  static EqualOptions Strict() {
    EqualOptions options;
    options.sets_are_not_tuples = options.ordered_lists = options.integers_as_integers =
        options.fractions_in_lowest_terms = true;
    return options;
  }
};

// Not symmetric, as math-verify is not: x = 5 is the gold 5, and 5 is the gold x = 5; but 1 is not the gold
// 2x + z = 1. Both are taken as principal values of complex functions: sqrt(x^2) is not x.
//
// kYes is a proof (equal trees, rational numbers, rational functions, Calcium's algebra) or this: at three
// points the two agree within 2^-(256 + 8 h), h being the bits of the numbers and values on the way;
// functions with cuts must agree on several branches (rewards/math/algebra/ball.h). What is undefined (1/0,
// 0^0, oo - oo) equals nothing, not even itself.
//
// Pure; any thread. Its time is bounded by what is counted before and while it evaluates, not by a clock:
// usually microseconds, a few tens of milliseconds at worst.
Decision Equal(const Expression& gold, const Expression& answer, const EqualOptions& options = {});

}  // namespace temper::math
