// SPDX-License-Identifier: Apache-2.0
// Sets of real numbers: intervals and points, joined, cut and taken away. Private to
// rewards/math/equal/equal*.cc.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "rewards/math/equal/parts.h"

namespace temper::math {

// From `low` to `high`; the ends' signs of infinity are 0 for a finite end, whose value is then in the ball.
struct RealPiece {
  struct End {
    Expression value;
    int infinite = 0;
    bool open = false;
    Ball ball;
  };
  End low, high;
};
using RealSet = std::vector<RealPiece>;  // ascending and apart

// None: not such a set, or its ends cannot be put in order.
std::optional<RealSet> ReadRealSet(const Expression& expression, Comparison* comparison);
// The set of the one unknown of a relation (or of several, joined by and, or) and its name. The unknown is a
// symbol or an unknown function of one, f(x), and occurs linearly, or in |x| alone.
struct RelationSolution {
  std::string unknown;
  RealSet set;
};
std::optional<RelationSolution> Solve(const Expression& relation, Comparison* comparison);

Decision CompareRealSets(const RealSet& gold, const RealSet& answer, Comparison* comparison);

}  // namespace temper::math
