// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <utility>

#include "core/one_of.h"
#include "rewards/math/equal/parts.h"

namespace temper::math {
namespace {

using PieceEnd = RealPiece::End;

constexpr size_t kMostPieces = 64;

std::optional<PieceEnd> ReadEnd(const Expression& value, bool open, Comparison* comparison) {
  PieceEnd end{value, InfiniteSign(value), open, {}};
  if (end.infinite != 0) {
    end.open = true;
    return end;
  }
  auto ball = RealValue(value, comparison);
  if (!ball) return std::nullopt;
  end.ball = *std::move(ball);
  return end;
}

// -1, 0, 1; none where two values are too near to tell.
std::optional<int> Order(const PieceEnd& a, const PieceEnd& b, Comparison* comparison) {
  if (a.infinite != 0 || b.infinite != 0)
    return a.infinite < b.infinite ? -1 : a.infinite > b.infinite ? 1 : 0;
  if (arb_lt(acb_realref(a.ball.get()), acb_realref(b.ball.get())) != 0) return -1;
  if (arb_gt(acb_realref(a.ball.get()), acb_realref(b.ball.get())) != 0) return 1;
  // Exactly, not to 6 decimals: (0, 1) and (1.0000001, 2) are apart.
  const Expression zero = DifferenceOf(a.value, b.value);
  if (CompareScalars(zero, NumberOf(0), comparison).equality == Equality::kYes) return 0;
  return std::nullopt;
}

std::optional<RealPiece> MakePiece(PieceEnd low, PieceEnd high, Comparison* comparison) {
  const auto order = Order(low, high, comparison);
  if (!order || *order > 0 || (*order == 0 && (low.open || high.open))) return std::nullopt;
  return RealPiece{std::move(low), std::move(high)};
}

// Ascending and apart.
std::optional<RealSet> Join(RealSet pieces, Comparison* comparison) {
  if (pieces.size() > kMostPieces) return std::nullopt;
  RealSet joined;
  while (!pieces.empty()) {
    size_t first = 0;
    for (size_t i = 1; i < pieces.size(); ++i) {
      const auto order = Order(pieces[i].low, pieces[first].low, comparison);
      if (!order) return std::nullopt;
      if (*order < 0 || (*order == 0 && !pieces[i].low.open)) first = i;
    }
    RealPiece next = std::move(pieces[first]);
    pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(first));
    if (joined.empty()) {
      joined.push_back(std::move(next));
      continue;
    }
    RealPiece& last = joined.back();
    const auto gap = Order(last.high, next.low, comparison);
    if (!gap) return std::nullopt;
    if (*gap < 0 || (*gap == 0 && last.high.open && next.low.open)) {
      joined.push_back(std::move(next));
      continue;
    }
    const auto longer = Order(last.high, next.high, comparison);
    if (!longer) return std::nullopt;
    if (*longer < 0) last.high = std::move(next.high);
    if (*longer == 0) last.high.open &= next.high.open;
  }
  return joined;
}

std::optional<RealSet> Intersect(const RealSet& a, const RealSet& b, Comparison* comparison) {
  RealSet common;
  for (const RealPiece& left : a) {
    for (const RealPiece& right : b) {
      const auto low = Order(left.low, right.low, comparison);
      const auto high = Order(left.high, right.high, comparison);
      if (!low || !high) return std::nullopt;
      RealPiece piece{*low >= 0 ? left.low : right.low, *high <= 0 ? left.high : right.high};
      if (*low == 0) piece.low.open = left.low.open || right.low.open;
      if (*high == 0) piece.high.open = left.high.open || right.high.open;
      const auto order = Order(piece.low, piece.high, comparison);
      if (!order) return std::nullopt;
      if (*order < 0 || (*order == 0 && !piece.low.open && !piece.high.open))
        common.push_back(std::move(piece));
    }
  }
  return Join(std::move(common), comparison);
}

PieceEnd Infinite(int sign) {
  const Expression infinity{Kind::kConstant, "oo", {}};
  return {sign > 0 ? infinity : NegativeOf(infinity), sign, true, {}};
}

RealSet Complement(const RealSet& set) {
  RealSet rest;
  PieceEnd low = Infinite(-1);
  const auto opposite = [](PieceEnd end) {
    end.open = !end.open;
    return end;
  };
  for (const RealPiece& piece : set) {
    if (piece.low.infinite == 0) rest.push_back({low, opposite(piece.low)});
    if (piece.high.infinite > 0) return rest;
    low = opposite(piece.high);
  }
  rest.push_back({low, Infinite(1)});
  return rest;
}

bool IsReals(const Expression& x) { return x.kind == Kind::kConstant && x.name == "R"; }

// ---- Relations

std::string Flipped(const std::string& name) {
  if (name == "<") return ">";
  if (name == "<=") return ">=";
  if (name == ">") return "<";
  if (name == ">=") return "<=";
  return name;
}

// {x : x name bound}
std::optional<RealSet> HalfLine(const std::string& name, const Expression& bound, Comparison* comparison) {
  const bool open = name == "<" || name == ">";
  const auto end = ReadEnd(bound, open, comparison);
  if (!end) return std::nullopt;
  if (name == "=" || name == "!=") {
    if (end->infinite != 0) return std::nullopt;
    const RealSet point = {{*end, *end}};
    return name == "=" ? point : Complement(point);
  }
  if (name == "<" || name == "<=") {
    if (end->infinite < 0) return std::nullopt;
    return RealSet{{Infinite(-1), *end}};
  }
  if (name != ">" && name != ">=") return std::nullopt;
  if (end->infinite > 0) return std::nullopt;
  return RealSet{{*end, Infinite(1)}};
}

void CollectNames(const Expression& x, std::vector<std::string>* names) {
  if (x.kind == Kind::kSymbol && std::find(names->begin(), names->end(), x.name) == names->end()) {
    names->push_back(x.name);
  }
  for (const Expression& arg : x.args) CollectNames(arg, names);
}

// |x| name bound.
std::optional<RelationSolution> SolveAbsolute(const Expression& absolute, const std::string& name,
                                              const Expression& bound, Comparison* comparison) {
  const Expression& unknown = absolute.args[0];
  const auto value = RealValue(bound, comparison);
  if (unknown.kind != Kind::kSymbol || !value || arb_is_positive(acb_realref(value->get())) == 0) {
    return std::nullopt;
  }
  const bool inside = IsOneOf(name, {"<", "<=", "="});
  const auto right = HalfLine(name, bound, comparison);
  const auto left = HalfLine(Flipped(name), NegativeOf(bound), comparison);
  if (!left || !right) return std::nullopt;
  if (inside && name != "=") {
    auto both = Intersect(*left, *right, comparison);
    if (!both) return std::nullopt;
    return RelationSolution{unknown.name, *std::move(both)};
  }
  if (name == "!=") return std::nullopt;
  RealSet both = *left;
  both.insert(both.end(), right->begin(), right->end());
  auto joined = Join(std::move(both), comparison);
  if (!joined) return std::nullopt;
  return RelationSolution{unknown.name, *std::move(joined)};
}

std::optional<RelationSolution> SolveOne(Expression relation, Comparison* comparison) {
  if (relation.args.size() != 2) return std::nullopt;
  if (IsSymbolic(relation.args[1]) ||
      (relation.args[1].kind == Kind::kFunction && relation.args[1].name == "abs")) {
    std::swap(relation.args[0], relation.args[1]);
    relation.name = Flipped(relation.name);
  }
  const Expression& left = relation.args[0];
  const Expression& right = relation.args[1];
  if (left.kind == Kind::kFunction && left.name == "abs" && !HasSymbol(right)) {
    return SolveAbsolute(left, relation.name, right, comparison);
  }
  if (IsSymbolic(left) && !HasSymbol(right)) {  // x, f(x)
    std::string name = left.name;
    for (const Expression& arg : left.args) name += "," + arg.name;
    auto set = HalfLine(relation.name, right, comparison);
    if (!set) return std::nullopt;
    return RelationSolution{name, *std::move(set)};
  }
  // slope x + offset, as the values at 0 and 1 have it.
  std::vector<std::string> symbols;
  CollectNames(relation, &symbols);
  if (symbols.size() != 1) return std::nullopt;
  const Expression x{Kind::kSymbol, symbols[0], {}};
  const Expression difference = DifferenceOf(left, right);
  const Expression offset = Substitute(difference, symbols[0], NumberOf(0));
  const Expression slope = DifferenceOf(Substitute(difference, symbols[0], NumberOf(1)), offset);
  const Expression line{Kind::kAdd, "", {{Kind::kMultiply, "", {slope, x}}, offset}};
  if (CompareScalars(difference, line, comparison).equality != Equality::kYes) return std::nullopt;
  const auto sign = RealValue(slope, comparison);
  if (!sign || sign->ContainsZero()) return std::nullopt;
  const bool negative = arb_is_negative(acb_realref(sign->get())) != 0;
  auto set = HalfLine(negative ? Flipped(relation.name) : relation.name,
                      NegativeOf(QuotientOf(offset, slope)), comparison);
  if (!set) return std::nullopt;
  return RelationSolution{symbols[0], *std::move(set)};
}

}  // namespace

std::optional<RealSet> ReadRealSet(const Expression& expression, Comparison* comparison) {
  if (IsReals(expression)) return RealSet{{Infinite(-1), Infinite(1)}};
  switch (expression.kind) {
    case Kind::kInterval: {
      if (expression.args.size() != 2 || expression.name.size() != 2) return std::nullopt;
      auto low = ReadEnd(expression.args[0], expression.name[0] == '(', comparison);
      auto high = ReadEnd(expression.args[1], expression.name[1] == ')', comparison);
      if (!low || !high) return std::nullopt;
      auto piece = MakePiece(*std::move(low), *std::move(high), comparison);
      if (!piece) return std::nullopt;
      return RealSet{*std::move(piece)};
    }
    case Kind::kSet: {
      RealSet points;
      for (const Expression& element : expression.args) {
        const auto point = ReadEnd(element, /*open=*/false, comparison);
        if (!point || point->infinite != 0) return std::nullopt;
        points.push_back({*point, *point});
      }
      return Join(std::move(points), comparison);
    }
    case Kind::kUnion: {
      RealSet pieces;
      for (const Expression& arg : expression.args) {
        auto part = ReadRealSet(arg, comparison);
        if (!part) return std::nullopt;
        std::move(part->begin(), part->end(), std::back_inserter(pieces));
      }
      return Join(std::move(pieces), comparison);
    }
    case Kind::kIntersection:
    case Kind::kDifference: {
      std::optional<RealSet> result;
      for (const Expression& arg : expression.args) {
        const auto part = ReadRealSet(arg, comparison);
        if (!part) return std::nullopt;
        const bool taken = expression.kind == Kind::kDifference && result.has_value();
        result = !result ? part : Intersect(*result, taken ? Complement(*part) : *part, comparison);
        if (!result) return std::nullopt;
      }
      return result;
    }
    default:
      return std::nullopt;
  }
}

std::optional<RelationSolution> Solve(const Expression& relation, Comparison* comparison) {
  if (relation.kind == Kind::kRelation) return SolveOne(relation, comparison);
  if (relation.kind != Kind::kLogic || relation.name == "not" || relation.args.size() > kMostPieces) {
    return std::nullopt;
  }
  std::optional<RelationSolution> result;
  for (const Expression& arg : relation.args) {
    auto part = Solve(arg, comparison);
    if (!part || (result && part->unknown != result->unknown)) return std::nullopt;
    if (!result) {
      result = std::move(part);
      continue;
    }
    std::optional<RealSet> set;
    if (relation.name == "and") {
      set = Intersect(result->set, part->set, comparison);
    } else {
      std::ranges::move(part->set, std::back_inserter(result->set));
      set = Join(std::move(result->set), comparison);
    }
    if (!set) return std::nullopt;
    result->set = *std::move(set);
  }
  return result;
}

Decision CompareRealSets(const RealSet& gold, const RealSet& answer, Comparison* comparison) {
  if (gold.size() != answer.size()) return No("another set of real numbers");
  Decision worst = Yes("the same set of real numbers");
  for (size_t i = 0; i < gold.size(); ++i) {
    for (const auto end : {&RealPiece::low, &RealPiece::high}) {
      if ((gold[i].*end).open != (answer[i].*end).open)
        return No("an end that is open here and closed there");
      Decision ends = CompareScalars((gold[i].*end).value, (answer[i].*end).value, comparison);
      if (ends.equality == Equality::kNo) return No("another end of an interval");
      if (ends.equality == Equality::kUnknown) worst = std::move(ends);
    }
  }
  return worst;
}

Decision CompareRealSets(const Expression& gold, const Expression& answer, Comparison* comparison) {
  if (gold.kind == Kind::kInterval && answer.kind == Kind::kInterval) {
    // Ends may be symbols: [a, b).
    if (gold.name != answer.name) return No("an end that is open here and closed there");
    return CompareInOrder(gold.args, answer.args, comparison);
  }
  const auto first = ReadRealSet(gold, comparison);
  const auto second = ReadRealSet(answer, comparison);
  if (first && second) return CompareRealSets(*first, *second, comparison);
  if (gold.kind == answer.kind && gold.kind != Kind::kDifference) {
    Decision parts = CompareInAnyOrder(gold.args, answer.args, comparison);
    if (parts.equality == Equality::kYes) return parts;
  }
  if (gold == answer) return Yes("written the same");
  if (first.has_value() != second.has_value()) return No("a set of another kind");
  return Unknown("cannot tell: sets that are not made of intervals and numbers");
}

}  // namespace temper::math
