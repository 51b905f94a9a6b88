// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/equal/parts.h"

namespace temper::math {

Decision CompareMatrices(const Expression& gold, const Expression& answer, Comparison* comparison) {
  if (gold.kind != answer.kind) {
    const Expression& other = gold.kind == ExpressionKind::kMatrix ? answer : gold;
    switch (other.kind) {
      case ExpressionKind::kAdd:
      case ExpressionKind::kMultiply:
      case ExpressionKind::kPower:
      case ExpressionKind::kFunction:
        return Unknown("cannot tell: a matrix and something that may be one");
      default:
        return No("a matrix and something that is none");
    }
  }
  return CompareInOrder(gold.args, answer.args, comparison);  // the rows
}

}  // namespace temper::math
