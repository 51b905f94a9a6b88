// SPDX-License-Identifier: Apache-2.0
// Sets, lists, tuples, matrices and what a pair of brackets can mean: (1, 2) is an open interval and an
// ordered pair.
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "core/one_of.h"
#include "rewards/math/equal/parts.h"

namespace temper::math {
namespace {

constexpr size_t kMostElements = 100;  // of which each is compared with each

bool IsOpenPair(const Expression& x) {
  return x.kind == Kind::kInterval && x.name == "()" && x.args.size() == 2;
}
bool IsOrdered(const Expression& x) { return x.kind == Kind::kTuple || IsOpenPair(x); }
bool IsFlat(const Expression& x) { return x.kind == Kind::kSet || x.kind == Kind::kList; }

// Pairs elements so that each has its own (augmenting paths); `most` says what counts as equal.
class Matching {
 public:
  Matching(const std::vector<Expression>& gold, const std::vector<Expression>& answer, Comparison* comparison)
      : gold_(gold), answer_(answer), comparison_(comparison), known_(gold.size() * answer.size(), -1) {}

  bool Complete(Equality most) {
    partner_.assign(answer_.size(), -1);
    for (size_t i = 0; i < gold_.size(); ++i) {
      seen_.assign(answer_.size(), false);
      if (!Augment(i, most)) return false;
    }
    return true;
  }

 private:
  bool Augment(size_t i, Equality most) {
    for (size_t k = 0; k < answer_.size(); ++k) {
      const size_t j = (i + k) % answer_.size();  // most often in the same order
      const Equality equality = Pair(i, j);
      if (seen_[j] || (equality != Equality::kYes && equality != most)) continue;
      seen_[j] = true;
      if (partner_[j] < 0 || Augment(partner_[j], most)) {
        partner_[j] = static_cast<int>(i);
        return true;
      }
    }
    return false;
  }

  Equality Pair(size_t i, size_t j) {
    int& known = known_[i * answer_.size() + j];
    if (known < 0) known = static_cast<int>(Compare(gold_[i], answer_[j], comparison_).equality);
    return static_cast<Equality>(known);
  }

  const std::vector<Expression>& gold_;
  const std::vector<Expression>& answer_;
  Comparison* comparison_;
  std::vector<int> known_;
  std::vector<int> partner_;  // of each answer's element
  std::vector<bool> seen_;
};

// {1, 1, 2} is {1, 2}.
std::vector<Expression> Distinct(const std::vector<Expression>& elements, Comparison* comparison) {
  std::vector<Expression> distinct;
  for (const Expression& element : elements) {
    const bool known = std::ranges::any_of(distinct, [&](const Expression& other) {
      return Compare(other, element, comparison).equality == Equality::kYes;
    });
    if (!known) distinct.push_back(element);
  }
  return distinct;
}

Decision CompareFlat(const Expression& gold, const Expression& answer, Comparison* comparison) {
  const bool lists = gold.kind == Kind::kList && answer.kind == Kind::kList;
  if (lists && comparison->options.ordered_lists) return CompareInOrder(gold.args, answer.args, comparison);
  if (std::max(gold.args.size(), answer.args.size()) > kMostElements) {
    // Sorting is no way out: numbers that cannot be told apart have no order.
    return gold == answer ? Yes("written the same") : TooLarge("a set of more than 100 elements");
  }
  Decision direct = CompareInAnyOrder(gold.args, answer.args, comparison);
  if (direct.equality != Equality::kNo) return direct;
  const auto first = Distinct(gold.args, comparison), second = Distinct(answer.args, comparison);
  if (first.size() == gold.args.size() && second.size() == answer.args.size()) return direct;
  return CompareInAnyOrder(first, second, comparison);
}

// Of a matrix of one row or column what is in it, as a tuple's.
std::optional<std::vector<Expression>> VectorOf(const Expression& x) {
  if (x.kind != Kind::kMatrix || x.args.empty()) return std::nullopt;
  std::vector<Expression> elements = x.args[0].args;
  if (x.args.size() > 1) elements.clear();
  for (size_t i = 0; x.args.size() > 1 && i < x.args.size(); ++i) {
    if (x.args[i].args.size() != 1) return std::nullopt;
    elements.push_back(x.args[i].args[0]);
  }
  return elements;
}

}  // namespace

bool IsCollection(const Expression& x) { return IsSet(x) || x.kind == Kind::kTuple || x.kind == Kind::kList; }

Decision CompareInOrder(const std::vector<Expression>& gold, const std::vector<Expression>& answer,
                        Comparison* comparison) {
  if (gold.size() != answer.size()) return No("another number of elements");
  Decision worst = Yes("the same elements in the same order");
  for (size_t i = 0; i < gold.size(); ++i) {
    Decision element = Compare(gold[i], answer[i], comparison);
    if (element.equality == Equality::kNo) return element;
    if (element.equality == Equality::kUnknown) worst = std::move(element);
  }
  return worst;
}

Decision CompareInAnyOrder(const std::vector<Expression>& gold, const std::vector<Expression>& answer,
                           Comparison* comparison) {
  if (gold.size() != answer.size()) return No("another number of elements");
  Matching matching(gold, answer, comparison);
  if (matching.Complete(Equality::kYes)) return Yes("the same elements");
  if (!matching.Complete(Equality::kUnknown)) return No("an element without its like");
  for (const Expression& element : gold) {  // the reason of one that is unknown
    for (const Expression& other : answer) {
      Decision decision = Compare(element, other, comparison);
      if (decision.equality == Equality::kUnknown) return decision;
    }
  }
  return Unknown("cannot tell: an element");
}

Decision CompareCollections(const Expression& gold, const Expression& answer, Comparison* comparison) {
  // (1, -2, 3) for a vector
  if (!comparison->options.sets_are_not_tuples && (IsOrdered(gold) || IsOrdered(answer))) {
    const auto vector = VectorOf(gold), other = VectorOf(answer);
    if (vector && vector->size() > 1) return CompareInOrder(*vector, answer.args, comparison);
    if (other && other->size() > 1) return CompareInOrder(gold.args, *other, comparison);
  }
  if (!IsCollection(gold) || !IsCollection(answer)) {
    const Expression& single = IsCollection(gold) ? answer : gold;
    if (single.kind == Kind::kConstant) {  // all real numbers
      const auto first = ReadRealSet(gold, comparison), second = ReadRealSet(answer, comparison);
      if (first && second) return CompareRealSets(*first, *second, comparison);
    }
    const Expression& whole = IsCollection(gold) ? gold : answer;
    // x + 1, x \ne 1: where a value is defined.
    if (whole.kind == Kind::kList && whole.args.size() > 1 &&
        std::all_of(whole.args.begin() + 1, whole.args.end(),
                    [](const Expression& arg) { return arg.kind == Kind::kRelation && arg.name == "!="; }))
      return IsCollection(gold) ? Compare(whole.args[0], answer, comparison)
                                : Compare(gold, whole.args[0], comparison);
    // 7/2 or 3.5: one value, written in several ways.
    const Expression& one = IsCollection(gold) ? answer : gold;
    if (whole.kind == Kind::kList && whole.args.size() > 1 &&
        std::ranges::all_of(whole.args, [&](const Expression& arg) {
          return arg.kind != Kind::kRelation && Compare(one, arg, comparison).equality == Equality::kYes;
        }))
      return Yes("the same value, several times");
    if (!IsFlat(whole) || whole.args.size() != 1) return No("one value and several");
    return IsCollection(gold) ? Compare(gold.args[0], answer, comparison)
                              : Compare(gold, answer.args[0], comparison);
  }
  if (IsOrdered(gold) && IsOrdered(answer)) return CompareInOrder(gold.args, answer.args, comparison);
  if (IsFlat(gold) && IsFlat(answer)) return CompareFlat(gold, answer, comparison);
  const Expression& ordered = IsOrdered(gold) ? gold : answer;
  const Expression& other = IsOrdered(gold) ? answer : gold;
  if (IsOrdered(ordered) && IsFlat(other)) {
    const bool set = other.kind == Kind::kSet;
    if (set && comparison->options.sets_are_not_tuples) return No("a set and a tuple");
    return CompareInOrder(gold.args, answer.args, comparison);
  }
  if (gold.kind == Kind::kTuple || answer.kind == Kind::kTuple) return No("a tuple and a set of numbers");
  return CompareRealSets(gold, answer, comparison);
}

Decision CompareMatrices(const Expression& gold, const Expression& answer, Comparison* comparison) {
  if (gold.kind == answer.kind) return CompareInOrder(gold.args, answer.args, comparison);  // the rows
  const Expression& other = gold.kind == Kind::kMatrix ? answer : gold;
  if (IsOneOf(other.kind, {Kind::kAdd, Kind::kMultiply, Kind::kPower, Kind::kFunction}))
    return Unknown("cannot tell: a matrix and something that may be one");
  return No("a matrix and something that is none");
}

}  // namespace temper::math
