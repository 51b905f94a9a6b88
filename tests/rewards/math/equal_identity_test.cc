// SPDX-License-Identifier: Apache-2.0
// Random expressions, rewritten by identities that always hold, are equal to themselves; changed a little,
// they are not.
#include <chrono>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "rewards/math/equal/equal.h"

namespace temper::math {
namespace {

using Random = std::mt19937;

int Pick(Random* random, int n) { return static_cast<int>((*random)() % static_cast<unsigned>(n)); }
Expression Number(int n) {
  if (n == -1) return {Kind::kNumber, "-1", {}};
  Expression number{Kind::kNumber, std::to_string(n < 0 ? -n : n), {}};
  return n < 0 ? Expression{Kind::kMultiply, "", {Number(-1), number}} : number;
}
Expression operator+(Expression a, Expression b) { return {Kind::kAdd, "", {std::move(a), std::move(b)}}; }
Expression operator*(Expression a, Expression b) {
  return {Kind::kMultiply, "", {std::move(a), std::move(b)}};
}
Expression Power(Expression a, Expression b) { return {Kind::kPower, "", {std::move(a), std::move(b)}}; }
Expression operator-(Expression a, Expression b) { return std::move(a) + Number(-1) * std::move(b); }
Expression operator/(Expression a, Expression b) { return std::move(a) * Power(std::move(b), Number(-1)); }
Expression Call(const char* name, Expression x) { return {Kind::kFunction, name, {std::move(x)}}; }

// A leaf: of {x, y} and small numbers, or constants.
Expression Leaf(Random* random, bool symbols) {
  switch (Pick(random, 4)) {
    case 0:
      return symbols ? Expression{Kind::kSymbol, Pick(random, 2) == 0 ? "x" : "y", {}}
                     : Expression{Kind::kConstant, "pi", {}};
    case 1:
      return symbols ? Expression{Kind::kSymbol, "x", {}}
                     : Power(Number(2 + Pick(random, 5)), Number(1) / Number(2));
    case 2:
      return Number(1 + Pick(random, 9)) / Number(1 + Pick(random, 9));
    default:
      return Number(Pick(random, 9) + 1);
  }
}

Expression Grow(Random* random, int depth, bool symbols) {
  if (depth == 0) return Leaf(random, symbols);
  const auto part = [&] { return Grow(random, depth - 1 - Pick(random, depth), symbols); };
  switch (Pick(random, 9)) {
    case 0:
    case 1:
      return part() + part();
    case 2:
    case 3:
      return part() * part();
    case 4:
      return part() - part();
    case 5:
      return part() / (part() + Number(11));
    case 6:
      return Power(part(), Number(2 + Pick(random, 2)));
    case 7:
      return Power(part(), Number(1) / Number(2 + Pick(random, 2)));
    default: {
      const char* names[] = {"sin", "cos", "exp", "arctan", "log", "abs"};
      return Call(names[Pick(random, 6)], part());
    }
  }
}

// Another expression of the same value.
Expression Rewrite(const Expression& x, Random* random) {
  Expression y{x.kind, x.name, {}};
  for (const Expression& arg : x.args) y.args.push_back(Rewrite(arg, random));
  const bool sum = x.kind == Kind::kAdd, product = x.kind == Kind::kMultiply;
  switch (Pick(random, 9)) {
    case 0:
      if (sum || product) std::swap(y.args.front(), y.args.back());
      return y;
    case 1:
      return y + Number(0);
    case 2:
      return Number(1) * y;
    case 3:
      return y * Number(7) / Number(7);
    case 4:
      return (y + Number(3)) - Number(3);
    case 5:
      if (product && y.args.size() == 2 && y.args[1].kind == Kind::kAdd) {
        return y.args[0] * y.args[1].args[0] + y.args[0] * y.args[1].args[1];
      }
      return y;
    case 6:
      return Power(Power(y, Number(1) / Number(2)), Number(2));
    case 7:
      if (y.kind == Kind::kFunction && y.name == "sin") return Number(0) - Call("sin", Number(0) - y.args[0]);
      if (y.kind == Kind::kFunction && y.name == "exp") {
        return Power(Call("exp", y.args[0] / Number(2)), Number(2));
      }
      return y;
    default:
      return y * (Power(Call("sin", y), Number(2)) + Power(Call("cos", y), Number(2)));
  }
}

size_t Nodes(const Expression& x) {
  size_t nodes = 1;
  for (const Expression& arg : x.args) nodes += Nodes(arg);
  return nodes;
}

struct Counts {
  int yes = 0, no = 0, unknown = 0;
  double slowest = 0;
};

// `change` makes the other side.
template <class Change>
Counts Count(bool symbols, int trials, Change change) {
  Counts counts;
  Random random(symbols ? 7 : 8);
  for (int i = 0; i < trials; ++i) {
    const Expression x = Grow(&random, 4, symbols);
    const Expression y = change(x, &random);
    if (Nodes(y) > 400) continue;
    const auto start = std::chrono::steady_clock::now();
    const Decision decision = Equal(x, y);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    counts.slowest = std::max(counts.slowest, seconds.count());
    counts.yes += decision.equality == Equality::kYes;
    counts.no += decision.equality == Equality::kNo;
    counts.unknown += decision.equality == Equality::kUnknown;
  }
  std::printf("%d yes, %d no, %d unknown; slowest %.1f ms\n", counts.yes, counts.no, counts.unknown,
              counts.slowest * 1000);
  return counts;
}

TEST(EqualIdentities, ARewrittenExpressionIsNeverCalledDifferent) {
  for (const bool symbols : {true, false}) {
    const Counts counts = Count(symbols, 600, Rewrite);
    EXPECT_EQ(counts.no, 0);
    EXPECT_GE(counts.yes, 8 * counts.unknown);
  }
}

TEST(EqualIdentities, AnExpressionWithASmallChangeIsNeverCalledEqual) {
  const auto change = [](const Expression& x, Random* random) {
    const Expression y = Rewrite(x, random);
    switch (Pick(random, 4)) {
      case 0:
        return y + Power(Number(10), Number(-3 - Pick(random, 60)));
      case 1:
        return y * (Number(1) + Power(Number(10), Number(-3 - Pick(random, 60)))) + Number(1);
      case 2:
        return Number(1) - y * Number(3);
      default:
        return y + Call("exp", Number(-9) - Number(Pick(random, 40)));
    }
  };
  for (const bool symbols : {true, false}) {
    const Counts counts = Count(symbols, 600, change);
    EXPECT_LE(counts.yes, 0);
    EXPECT_GE(counts.no, 9 * counts.unknown);
  }
}

}  // namespace
}  // namespace temper::math
