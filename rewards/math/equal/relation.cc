// SPDX-License-Identifier: Apache-2.0
// Equations, inequalities and chains of them; and what is left of them when the other side has none.
#include <algorithm>
#include <utility>

#include "core/one_of.h"
#include "rewards/math/equal/parts.h"

namespace temper::math {
namespace {

bool IsNamed(const Expression& x, const char* name) { return x.kind == Kind::kRelation && x.name == name; }
bool IsOrder(const std::string& name) { return IsOneOf(name, {"<", "<=", ">", ">="}); }

// A name for what the other side says: x, (p, q), f(x), A : B.
bool IsOnlySymbols(const Expression& x) {
  if (x.kind == Kind::kSymbol || x.kind == Kind::kText) return true;
  if (x.kind == Kind::kPower) {
    return x.args.size() == 2 && IsMinusOne(x.args[1]) && IsOnlySymbols(x.args[0]);
  }
  const auto is_letter = [&](const Expression& arg) {  // Area: A r e a
    const bool constant = arg.kind == Kind::kConstant && (arg.name == "e" || arg.name == "i");
    return IsOnlySymbols(arg) || (constant && x.kind == Kind::kMultiply && x.args.size() > 2);
  };
  return !x.args.empty() && std::ranges::all_of(x.args, is_letter);
}
// f(2), P(X > 1), dy/dx, a limit: what has a value that only the right side tells.
bool IsQuantity(const Expression& x) {
  return x.kind == Kind::kFunction &&
         (IsUnknownFunction(x) || IsOneOf(x.name, {"derivative", "limit", "integral", "sum"}));
}
bool IsAssignment(const Expression& x) {
  return IsEquation(x) && (IsOnlySymbols(x.args[0]) || IsQuantity(x.args[0]) || !HasSymbol(x.args[0]));
}

// a = b, b = c: one relation's right side is the next one's left.
bool IsChain(const Expression& x) {
  if (x.kind != Kind::kLogic || x.name != "and" || x.args.size() < 2) return false;
  for (size_t i = 0; i < x.args.size(); ++i) {
    if (x.args[i].kind != Kind::kRelation || x.args[i].args.size() != 2) return false;
    if (i > 0 && !(x.args[i - 1].args[1] == x.args[i].args[0])) return false;
  }
  return true;
}

// x ~ 11 says x = 11; but of sqrt(2) ~ 1.41 sqrt(2) counts. A chain of equations is its two ends. x in S is
// S. Several equations that are no chain are a list of them.
Expression Reduced(const Expression& x) {
  if (IsNamed(x, "approx") && x.args.size() == 2) {
    return IsOnlySymbols(x.args[0]) ? Expression{Kind::kRelation, "=", x.args} : x.args[0];
  }
  if (IsNamed(x, "in") && x.args.size() == 2 && IsOnlySymbols(x.args[0])) return x.args[1];
  if (x.kind != Kind::kLogic || x.name == "not") return x;
  const auto is_equal = [](const Expression& arg) { return IsNamed(arg, "=") || IsNamed(arg, "approx"); };
  if (!std::ranges::all_of(x.args, is_equal) || x.args.empty()) return x;
  if (!IsChain(x)) return {Kind::kList, "", x.args};
  size_t last = x.args.size() - 1;
  while (last > 0 && IsNamed(x.args[last], "approx")) --last;
  if (last == 0) return Reduced(x.args[0]);
  return {Kind::kRelation, "=", {x.args[0].args[0], x.args[last].args[1]}};
}

// (1, 2) may be meant as an interval.
bool MayBeSet(const Expression& x) { return IsSet(x) || (x.kind == Kind::kTuple && x.args.size() == 2); }

Decision CompareWithSet(const Expression& relation, const Expression& set, bool relation_is_gold,
                        Comparison* comparison) {
  const auto solution = Solve(relation, comparison);
  if (!solution) return Unknown("cannot tell: a relation that is not solved here, and a set");
  Expression plain = set;
  if (set.kind == Kind::kTuple) plain = {Kind::kInterval, "()", set.args};
  const auto other = ReadRealSet(plain, comparison);
  if (!other) return No("a relation, and a set of another kind");
  return relation_is_gold ? CompareRealSets(solution->set, *other, comparison)
                          : CompareRealSets(*other, solution->set, comparison);
}

// > and >= become < and <=.
Expression Ascending(Expression x) {
  if (x.args.size() == 2 && (x.name == ">" || x.name == ">=")) {
    x.name = x.name == ">" ? "<" : "<=";
    std::swap(x.args[0], x.args[1]);
  }
  return x;
}

bool IsScalar(const Expression& x) {
  return IsOneOf(x.kind, {Kind::kNumber, Kind::kSymbol, Kind::kConstant, Kind::kAdd, Kind::kMultiply,
                          Kind::kPower, Kind::kFunction});
}

// a = mod(b, n): of the same n.
bool HasModulus(const Expression& x) {
  const auto is_mod = [](const Expression& side) {
    return side.kind == Kind::kFunction && side.name == "mod";
  };
  return std::ranges::any_of(x.args, is_mod);
}

Decision CompareCongruences(const Expression& gold, const Expression& answer, Comparison* comparison) {
  const Expression& first = gold.args[1];
  const Expression& second = answer.args[1];
  if (gold.name != answer.name || first.args.size() != 2 || second.args.size() != 2)
    return No("another relation");
  if (first.name != "mod" || second.name != "mod") return No("a congruence and something else");
  return CompareInOrder({gold.args[0], first.args[1], first}, {answer.args[0], second.args[1], second},
                        comparison);
}

Decision CompareTwo(const Expression& gold_as_written, const Expression& answer_as_written,
                    Comparison* comparison) {
  const Expression gold = Ascending(gold_as_written), answer = Ascending(answer_as_written);
  if (gold.name != answer.name || gold.args.size() != 2 || answer.args.size() != 2)
    return No("another relation");
  if (HasModulus(gold) || HasModulus(answer)) return CompareCongruences(gold, answer, comparison);
  // y(t) = .. is written for y = ..
  const auto names = [](const Expression& function, const Expression& symbol) {
    return function.kind == Kind::kFunction && symbol.kind == Kind::kSymbol && function.name == symbol.name;
  };
  if (IsEquation(gold) && IsEquation(answer) &&
      (names(gold.args[0], answer.args[0]) || names(answer.args[0], gold.args[0])))
    return Compare(gold.args[1], answer.args[1], comparison);
  const Decision sides = CompareInOrder(gold.args, answer.args, comparison);
  if (sides.equality == Equality::kYes) return Yes("the same sides of the same relation");
  const bool symmetric = gold.name == "=" || gold.name == "!=";
  if (symmetric) {
    const Decision swapped = CompareInOrder(gold.args, {answer.args[1], answer.args[0]}, comparison);
    if (swapped.equality == Equality::kYes) return Yes("the same sides of the same relation");
  }
  const bool scalars = std::ranges::all_of(gold.args, IsScalar) && std::ranges::all_of(answer.args, IsScalar);
  if (!scalars || (!symmetric && !IsOrder(gold.name))) return sides;
  if (!HasSymbol(gold) || !HasSymbol(answer)) return sides;
  const auto ratio = ConstantRatio(DifferenceOf(gold.args[0], gold.args[1]),
                                   DifferenceOf(answer.args[0], answer.args[1]), comparison);
  if (ratio && (symmetric || *ratio > 0)) return Yes("the same relation times a constant");
  return sides.equality == Equality::kUnknown ? sides : No("another relation");
}

Decision CompareBoth(const Expression& gold, const Expression& answer, Comparison* comparison) {
  Decision direct = No("another number of relations");
  if (gold.kind == Kind::kRelation && answer.kind == Kind::kRelation) {
    direct = CompareTwo(gold, answer, comparison);
  } else if (gold.kind == answer.kind && gold.name == answer.name) {
    direct = CompareInAnyOrder(gold.args, answer.args, comparison);
  }
  if (direct.equality == Equality::kYes) return direct;
  if (IsEquation(gold) || IsEquation(answer)) return direct;
  const auto first = Solve(gold, comparison);
  const auto second = first ? Solve(answer, comparison) : std::nullopt;
  if (!first || !second) return direct;
  if (first->unknown != second->unknown) return No("another unknown");
  return CompareRealSets(first->set, second->set, comparison);
}

}  // namespace

Decision CompareRelations(const Expression& gold_as_written, const Expression& answer_as_written,
                          bool answer_is_set, Comparison* comparison) {
  // 50/3 \approx 16.67: the reference itself says that both will do.
  if (IsNamed(gold_as_written, "approx") && gold_as_written.args.size() == 2 && !HasSymbol(gold_as_written) &&
      !IsRelation(answer_as_written)) {
    Decision left = Compare(gold_as_written.args[0], answer_as_written, comparison);
    if (left.equality == Equality::kYes) return left;
    return Compare(gold_as_written.args[1], answer_as_written, comparison);
  }
  Expression gold = Reduced(gold_as_written), answer = Reduced(answer_as_written);
  // As math-verify: an answer's equation gives way to a gold that is none; a gold's only if it names a value.
  if (IsEquation(answer) && !IsEquation(gold) && !(gold.kind == Kind::kLogic)) {
    // 6 = 5 says nothing; 10/3 = 3.33 is rounded.
    if (!HasSymbol(answer.args[0]) && answer.args[1].kind == Kind::kNumber &&
        answer.args[1].name.find('.') == std::string::npos &&
        Compare(answer.args[0], answer.args[1], comparison).equality == Equality::kNo)
      return No("an equation that does not hold");
    answer = Expression(answer.args[1]);
  } else if (IsAssignment(gold) && !IsEquation(answer) && !IsRelation(answer)) {
    gold = Expression(gold.args[1]);
  }
  if (!IsRelation(gold) && !IsRelation(answer)) return Compare(gold, answer, comparison);
  if (IsRelation(gold) && IsRelation(answer)) return CompareBoth(gold, answer, comparison);
  if (IsRelation(gold)) {
    if (!MayBeSet(answer)) return No("a relation and a value");
    return CompareWithSet(gold, answer, /*relation_is_gold=*/true, comparison);
  }
  if (!MayBeSet(gold)) return No("a value and a relation");
  if (!answer_is_set && !comparison->options.answer_relation_is_set) return No("a set and a relation");
  return CompareWithSet(answer, gold, /*relation_is_gold=*/false, comparison);
}

}  // namespace temper::math
