// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/equal/equal.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/one_of.h"
#include "rewards/math/equal/parts.h"

namespace temper::math {
namespace {

constexpr size_t kMostNodes = 4000;
constexpr int kMostDepth = 100;
constexpr slong kMostSteps = 200'000;

// What of a tree exceeds a bound; "": nothing.
std::string Excess(const Expression& x, int depth, size_t* nodes) {
  if (++*nodes > kMostNodes) return absl::StrCat("more than ", kMostNodes, " nodes");
  if (depth > kMostDepth) return absl::StrCat("deeper than ", kMostDepth);
  if (x.kind == Kind::kNumber && static_cast<slong>(x.name.size()) > kMostBits * 3 / 10) {
    return absl::StrCat("a number of ", x.name.size(), " digits");
  }
  for (const Expression& arg : x.args) {
    if (std::string excess = Excess(arg, depth + 1, nodes); !excess.empty()) return excess;
  }
  return "";
}

// The numbers of arguments that rewards/math/expression.h promises.
bool IsWellFormed(const Expression& x) {
  const size_t count = x.args.size();
  bool good = true;
  switch (x.kind) {
    case Kind::kPower:
    case Kind::kRelation:
      good = count == 2;
      break;
    case Kind::kInterval:
      good = count == 2 && IsOneOf(x.name, {"()", "[]", "(]", "[)"});
      break;
    case Kind::kPercent:
      good = count == 1;
      break;
    case Kind::kPlusMinus:
      good = count == 1 || count == 2;
      break;
    case Kind::kAdd:
    case Kind::kMultiply:
    case Kind::kLogic:
    case Kind::kMatrix:
      good = count > 0;
      break;
    default:
      break;
  }
  return good && std::ranges::all_of(x.args, IsWellFormed);
}

int CountPlusMinus(const Expression& x) {
  int count = x.kind == Kind::kPlusMinus;
  for (const Expression& arg : x.args) count += CountPlusMinus(arg);
  return count;
}

Expression WithSign(const Expression& x, int sign) {
  Expression result{x.kind, x.name, {}};
  for (const Expression& arg : x.args) result.args.push_back(WithSign(arg, sign));
  if (x.kind != Kind::kPlusMinus) return result;
  Expression& last = result.args.back();
  if (sign < 0) last = NegativeOf(std::move(last));
  return result.args.size() == 1 ? std::move(last) : SumOf(std::move(result.args));
}

// a +- b is the set of two; x = a +- b, of x = a + b and x = a - b. With more than one +- it is left open
// which go together.
Decision ComparePlusMinus(const Expression& gold, const Expression& answer, Comparison* comparison) {
  const int most = std::max(CountPlusMinus(gold), CountPlusMinus(answer));
  if (gold == answer) return Yes("written the same");
  if (most > 1) return Unknown("cannot tell: several signs +- at once");
  const auto expand = [](const Expression& x) {
    if (CountPlusMinus(x) == 0) return x;
    if (x.kind == Kind::kRelation && x.args.size() == 2) {
      const Expression both{Kind::kSet, "", {WithSign(x.args[1], 1), WithSign(x.args[1], -1)}};
      return Expression{Kind::kRelation, x.name, {WithSign(x.args[0], 1), both}};
    }
    if (x.kind == Kind::kList || x.kind == Kind::kSet) {
      Expression flat{x.kind, "", {}};
      for (const Expression& arg : x.args) {
        flat.args.push_back(WithSign(arg, 1));
        if (CountPlusMinus(arg) > 0) flat.args.push_back(WithSign(arg, -1));
      }
      return flat;
    }
    return Expression{Kind::kSet, "", {WithSign(x, 1), WithSign(x, -1)}};
  };
  const Expression& related = CountPlusMinus(gold) > 0 ? gold : answer;
  if (related.kind == Kind::kRelation && CountPlusMinus(related.args[0]) > 0) {
    return Unknown("cannot tell: +- on the left of a relation");
  }
  return Compare(expand(gold), expand(answer), comparison);
}

// + C of an integral.
bool HasConstantTerm(const Expression& x, const std::string& name) {
  return x.kind == Kind::kAdd && std::ranges::any_of(x.args, [&](const Expression& arg) {
           return arg.kind == Kind::kSymbol && arg.name == name;
         });
}

// {x | x > 2} is x > 2; none: no such set.
std::optional<Expression> AsRelation(const Expression& x) {
  if (x.kind != Kind::kFunction || x.name != "set_builder" || x.args.size() < 2 ||
      x.args[0].kind != Kind::kSymbol)
    return std::nullopt;
  const auto is_order = [](const Expression& arg) {
    return arg.kind == Kind::kRelation ? IsOneOf(arg.name, {"<", ">", "<=", ">="}) : arg.kind == Kind::kLogic;
  };
  if (!std::all_of(x.args.begin() + 1, x.args.end(), is_order)) return std::nullopt;
  if (x.args.size() == 2) return x.args[1];
  return Expression{Kind::kLogic, "and", {x.args.begin() + 1, x.args.end()}};
}

// 2 pi k, k in Z: the letter that runs over a set; "": none does.
std::string BoundLetter(const Expression& x) {
  if (!IsOneOf(x.kind, {Kind::kList, Kind::kTuple, Kind::kLogic})) return "";
  std::string letter;
  for (const Expression& arg : x.args) {
    const bool runs = arg.kind == Kind::kRelation && arg.name == "in" && arg.args.size() == 2 &&
                      arg.args[0].kind == Kind::kSymbol && arg.args[1].kind == Kind::kConstant;
    if (runs && !letter.empty()) return "";
    if (runs) letter = arg.args[0].name;
  }
  return letter;
}

}  // namespace

bool IsSymbolic(const Expression& x) {
  if (x.kind == Kind::kSymbol) return true;
  return IsUnknownFunction(x) && !x.args.empty() &&
         std::ranges::all_of(x.args, [](const Expression& arg) { return arg.kind == Kind::kSymbol; });
}

Decision Compare(const Expression& gold, const Expression& answer, Comparison* comparison) {
  if (!comparison->work.Spend(1)) return TooLarge("the work of comparing");
  if (CountPlusMinus(gold) + CountPlusMinus(answer) > 0) return ComparePlusMinus(gold, answer, comparison);
  if (HasConstantTerm(gold, "C") && HasConstantTerm(answer, "c") && !Mentions(gold, "c") &&
      !Mentions(answer, "C"))
    return Compare(gold, Substitute(answer, "c", {Kind::kSymbol, "C", {}}), comparison);
  if (IsNumberSet(gold) && gold.name.size() == 1 && answer.kind == Kind::kSymbol && answer.name == gold.name)
    return Yes("the same set of numbers");  // \mathbf{R}
  const std::string bound = BoundLetter(gold), other = BoundLetter(answer);
  if (!bound.empty() && !other.empty() && bound != other && !Mentions(gold, other) &&
      !Mentions(answer, bound))
    return Compare(gold, Substitute(answer, other, {Kind::kSymbol, bound, {}}), comparison);
  if (const auto a = AsRelation(gold), b = AsRelation(answer); a || b)
    return CompareRelations(a ? *a : gold, b ? *b : answer, b.has_value(), comparison);
  if (IsRelation(gold) || IsRelation(answer)) return CompareRelations(gold, answer, false, comparison);
  if (IsCollection(gold) || IsCollection(answer)) return CompareCollections(gold, answer, comparison);
  if (gold.kind == Kind::kMatrix || answer.kind == Kind::kMatrix)
    return CompareMatrices(gold, answer, comparison);
  return CompareScalars(gold, answer, comparison);
}

Decision Equal(const Expression& gold, const Expression& answer, const EqualOptions& options) {
  FreeFlintAtThreadEnd();
  for (const Expression* x : {&gold, &answer}) {
    size_t nodes = 0;
    if (const std::string excess = Excess(*x, 0, &nodes); !excess.empty()) return TooLarge(excess);
    if (!IsWellFormed(*x)) return Unknown("malformed: a node with other arguments than its kind has");
  }
  const Expanded first = Expand(gold);
  const Expanded second = Expand(answer);
  if (!first.problem.empty() || !second.problem.empty()) {
    const std::string& problem = first.problem.empty() ? second.problem : first.problem;
    return IsEvidentlyDefined(gold) ? CompareTrees(gold, answer, TooLarge(problem)) : TooLarge(problem);
  }
  Comparison comparison{options, WorkBudget(kMostSteps)};
  return Compare(first.expression, second.expression, &comparison);
}

}  // namespace temper::math
