// SPDX-License-Identifier: Apache-2.0
// What rewards/math/equal/equal is made of: one function for each kind of answer. Private to
// rewards/math/equal/equal*.cc.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "rewards/math/algebra/ball.h"
#include "rewards/math/algebra/expand.h"
#include "rewards/math/algebra/names.h"
#include "rewards/math/equal/equal.h"
#include "rewards/math/expression.h"

namespace temper::math {

// The state of one call of Equal.
struct Comparison {
  const EqualOptions& options;
  WorkBudget work;
  int proofs = 8;  // that Calcium may still be asked for
};

inline Decision Yes(std::string reason) { return {Equality::kYes, std::move(reason)}; }
inline Decision No(std::string reason) { return {Equality::kNo, std::move(reason)}; }
inline Decision Unknown(std::string reason) { return {Equality::kUnknown, std::move(reason)}; }
inline Decision TooLarge(std::string what) { return Unknown("too large: " + std::move(what)); }

// For what has no value that we could compute: equal if the same tree, but for the order of terms and
// factors.
Decision CompareTrees(const Expression& gold, const Expression& answer, Decision otherwise);
// Nothing in it can fail to have a value, however large.
bool IsEvidentlyDefined(const Expression& expression);

// Any two; the others take what their name says.
Decision Compare(const Expression& gold, const Expression& answer, Comparison* comparison);
Decision CompareScalars(const Expression& gold, const Expression& answer, Comparison* comparison);
Decision CompareValues(const Expression& gold, const Expression& answer,
                       Comparison* comparison);  // at points
Decision CompareNames(const Expression& gold, const Expression& answer);
Decision CompareTimes(const Expression& gold, const Expression& answer);  // kUnknown: neither is a time
Decision CompareCollections(const Expression& gold, const Expression& answer, Comparison* comparison);
Decision CompareRealSets(const Expression& gold, const Expression& answer, Comparison* comparison);
// `answer_is_set`: it was written as {x | ..}.
Decision CompareRelations(const Expression& gold, const Expression& answer, bool answer_is_set,
                          Comparison* comparison);
Decision CompareMatrices(const Expression& gold, const Expression& answer, Comparison* comparison);
Decision CompareInOrder(const std::vector<Expression>& gold, const std::vector<Expression>& answer,
                        Comparison* comparison);
// Each of one side has its own of the other.
Decision CompareInAnyOrder(const std::vector<Expression>& gold, const std::vector<Expression>& answer,
                           Comparison* comparison);

// The real value of a constant, at 128 bits; none if it is complex, has none or is infinite.
std::optional<Ball> RealValue(const Expression& constant, Comparison* comparison);
// The constant that `gold` is, times `answer`: +1 or -1 for the sign of a real one, 0 for another; none: no
// such.
std::optional<int> ConstantRatio(const Expression& gold, const Expression& answer, Comparison* comparison);

// Sets of real numbers (real_set.cc): intervals and points, joined, cut and taken away.
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

bool IsCollection(const Expression& expression);  // a set, list, tuple, interval or union of such
bool IsSymbolic(const Expression& expression);    // a symbol, or an unknown function of something: f(x)

}  // namespace temper::math
