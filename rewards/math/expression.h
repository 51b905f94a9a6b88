// SPDX-License-Identifier: Apache-2.0
// A mathematical answer as a tree. LaTeX becomes one in rewards/math/latex/latex; rewards/math/equal/equal
// decides whether two are the same.
#pragma once

#include <string>
#include <vector>

namespace temper::math {

// What a node is, its `name` and its `args`:
enum class Kind {
  kNumber,    // name: ASCII digits, at most one point; only "-1" has a sign: "12", "0.25"
  kSymbol,    // name: a letter, a LaTeX name without its backslash, subscripts behind _: "x", "alpha", "x_1"
  kConstant,  // name: pi, e, i, oo (infinity), true, false; number sets: N, Z, Q, R, C, R^+, Z_>0, ..
  kAdd,       // args: 2 or more
  kMultiply,  // args: 2 or more; a quotient is a product with kPower(.., -1), -x is one with kNumber "-1"
  kPower,     // args: base, exponent; a root is a power of 1/n
  kFunction,  // name: sin, log, abs, floor, factorial, binomial, gcd, integral, sum, limit, derivative, ..
              // (rewards/math/latex/latex.h lists them with their args)
  kRelation,  // name: = != < <= > >= in notin subset approx; args: 2 sides. Also subseteq, notsubset, sim,
              // cong, propto, parallel, perp, to, implies, iff and the like, which are compared as they are
  kLogic,     // name: and, or, not; args: relations. a < b < c is and(a < b, b < c)
  kSet,       // {..}; args: elements, may be none (the empty set)
  kTuple,     // (..) of 2 or more, or a vector written with angle brackets
  kList,      // a, b, c without brackets: 2 or more
  kInterval,  // args: 2 ends; name: two brackets, "()" "[]" "(]" "[)"
  kUnion,     // args: 2 or more sets
  kIntersection,
  kDifference,  // args: 2 sets
  kMatrix,      // args: kTuple rows of equal length
  kPercent,     // args: 1; the value as written, before % (9% has 9)
  kPlusMinus,   // args: 1 (of -x) or 2 (a +- b)
  kText,        // name: words that are no mathematics, white space made one space
};

struct Expression {
  Kind kind = Kind::kNumber;
  std::string name;
  std::vector<Expression> args;

  friend bool operator==(const Expression&, const Expression&) = default;
};

inline bool IsEquation(const Expression& x) {
  return x.kind == Kind::kRelation && x.name == "=" && x.args.size() == 2;
}

inline bool IsRelation(const Expression& x) {  // or made of some
  return x.kind == Kind::kRelation || x.kind == Kind::kLogic;
}

inline bool IsMinusOne(const Expression& x) { return x.kind == Kind::kNumber && x.name == "-1"; }

inline bool IsWhole(const Expression& x) {  // as it is written: 12, not 12.0
  return x.kind == Kind::kNumber && x.name.find('.') == x.name.npos;
}

// 1: oo, -1: -oo, 0: neither.
int InfiniteSign(const Expression& x);

// N, Z, Q, R, C and those made of them: R^+.
bool IsNumberSet(const Expression& x);
bool IsSet(const Expression& x);  // {..}, an interval, a union of such..

size_t CountNodes(const Expression& expression);

// One line, for tests and messages: (+ x (* 2 #pi)), (Interval[) 0 #oo), (= y (f x)), text"odd".
std::string DebugString(const Expression& expression);

}  // namespace temper::math
