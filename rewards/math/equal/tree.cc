// SPDX-License-Identifier: Apache-2.0
// Expressions as they are written.
#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/one_of.h"
#include "rewards/math/algebra/exact.h"
#include "rewards/math/equal/parts.h"

namespace temper::math {
namespace {

// The names that a node binds, in the order in which they come: the index of a sum, the element of a set and
// what its conditions take from a set of numbers.
std::vector<std::string> BoundNames(const Expression& x) {
  std::vector<std::string> names;
  if (x.kind != Kind::kFunction) return names;
  const bool big = IsOneOf(x.name, {"sum", "product", "integral", "limit"});
  if (big && x.args.size() > 2 && x.args[1].kind == Kind::kSymbol) names.push_back(x.args[1].name);
  if (x.name != "set_builder") return names;
  if (!x.args.empty() && x.args[0].kind == Kind::kSymbol) names.push_back(x.args[0].name);
  for (const Expression& condition : x.args) {
    const bool member =
        condition.kind == Kind::kRelation && condition.name == "in" && condition.args.size() == 2;
    if (member && condition.args[0].kind == Kind::kSymbol) names.push_back(condition.args[0].name);
  }
  return names;
}

// The key of a symbol, its letter and those in its subscript named by where they are bound.
std::string BoundName(const std::string& name, const std::vector<std::string>& bound) {
  const auto renamed = [&](const std::string& part) {
    for (size_t i = bound.size(); i > 0; --i) {
      if (bound[i - 1] == part) return absl::StrCat("#", i);
    }
    return part;
  };
  if (const std::string whole = renamed(name); whole != name) return whole;
  const size_t subscript = std::min(name.find('_'), name.size());
  std::string result = name.substr(0, subscript), part;
  for (size_t at = subscript; at <= name.size(); ++at) {
    const char c = at < name.size() ? name[at] : '\0';
    if (absl::ascii_isalnum(c)) {
      part += c;
      continue;
    }
    result += renamed(part);
    part.clear();
    if (c != '\0') result += c;
  }
  return SymbolKey(result);
}

// With what is bound named by where it is bound, and terms and factors in one order.
std::string Canonical(const Expression& x, std::vector<std::string>* bound) {
  // 10^{10} is 10000000000; a larger number stays as it is written.
  constexpr size_t kFolded = 32;
  if (x.kind != Kind::kNumber || x.name.size() < kFolded) {
    const Exact exact = CountNodes(x) <= kFolded ? EvaluateExact(x) : Exact{};
    if (exact.existence == Existence::kValue) return ToString(exact.value);
  }
  if (x.kind == Kind::kFunction && x.name == "exp" && x.args.size() == 1)
    return Canonical(PowerOf({Kind::kConstant, "e", {}}, x.args[0]), bound);
  const size_t outside = bound->size();
  for (std::string& name : BoundNames(x)) bound->push_back(std::move(name));
  std::vector<std::string> parts;
  for (const Expression& arg : x.args) {
    if (arg.kind == x.kind && (x.kind == Kind::kAdd || x.kind == Kind::kMultiply)) {
      for (const Expression& inner : arg.args) parts.push_back(Canonical(inner, bound));
    } else {
      parts.push_back(Canonical(arg, bound));
    }
  }
  if (x.kind == Kind::kMultiply) parts.erase(std::remove(parts.begin(), parts.end(), "1"), parts.end());
  if (x.kind == Kind::kAdd || x.kind == Kind::kMultiply) std::ranges::sort(parts);
  if (x.kind == Kind::kMultiply && parts.size() == 1) return parts[0];
  // The order of a set's conditions does not matter.
  if (x.kind == Kind::kFunction && x.name == "set_builder" && !parts.empty())
    std::sort(parts.begin() + 1, parts.end());
  const std::string name = x.kind == Kind::kSymbol ? BoundName(x.name, *bound) : x.name;
  bound->resize(outside);
  std::string text = absl::StrCat(static_cast<int>(x.kind), "'", name, "(");
  for (const std::string& part : parts) absl::StrAppend(&text, part, ",");
  return text + ")";
}

std::string Canonical(const Expression& x) {
  std::vector<std::string> bound;
  return Canonical(x, &bound);
}

bool IsPositive(const Expression& x);

bool IsRealNumber(const Expression& x) {
  const bool product = x.kind == Kind::kMultiply && x.args.size() == 2;
  return x.kind == Kind::kNumber || IsPositive(x) ||
         (product && IsMinusOne(x.args[0]) && IsPositive(x.args[1]));
}

// 1, 2, ..: made of such by sums, products, powers and factorials.
bool IsNatural(const Expression& x) {
  switch (x.kind) {
    case Kind::kNumber:
      return x.name.find_first_of("-.") == std::string::npos;
    case Kind::kFunction:
      if (x.name != "factorial" && x.name != "double_factorial") return false;
      return x.args.size() == 1 && IsNatural(x.args[0]);
    case Kind::kAdd:
    case Kind::kMultiply:
    case Kind::kPower:
      return !x.args.empty() && std::ranges::all_of(x.args, IsNatural);
    default:
      return false;
  }
}

bool IsPositive(const Expression& x) {
  switch (x.kind) {
    case Kind::kFunction:  // 2024!
      return IsNatural(x);
    case Kind::kNumber:
      return x.name[0] != '-' && x.name.find_first_of("123456789") != std::string::npos;
    case Kind::kConstant:
      return x.name == "pi" || x.name == "e";
    case Kind::kPower:
      return IsPositive(x.args[0]) && IsRealNumber(x.args[1]);
    case Kind::kAdd:
    case Kind::kMultiply:
      return std::ranges::all_of(x.args, IsPositive);
    default:
      return false;
  }
}

// For a symbol, but for finitely many of its values.
bool IsEvidentlyNotZero(const Expression& x) {
  if (x.kind == Kind::kSymbol || IsPositive(x) || IsMinusOne(x)) return true;
  if (x.kind == Kind::kPower) return IsEvidentlyNotZero(x.args[0]);
  return x.kind == Kind::kMultiply && std::ranges::all_of(x.args, IsEvidentlyNotZero);
}

// oo - oo, 0 oo: an infinity among terms, factors or in a power.
bool HasInfiniteArithmetic(const Expression& x) {
  if (InfiniteSign(x) != 0) return false;
  const bool arithmetic = IsOneOf(x.kind, {Kind::kAdd, Kind::kMultiply, Kind::kPower});
  return std::ranges::any_of(x.args, [&](const Expression& arg) {
    return (arithmetic && InfiniteSign(arg) != 0) || HasInfiniteArithmetic(arg);
  });
}

}  // namespace

bool IsEvidentlyDefined(const Expression& x) {
  const auto are_defined = [&] { return std::ranges::all_of(x.args, IsEvidentlyDefined); };
  switch (x.kind) {
    case Kind::kNumber:
    case Kind::kSymbol:
      return true;
    case Kind::kConstant:
      return x.name != "oo";
    case Kind::kPower:
      if (x.args[0].kind == Kind::kConstant && x.args[0].name == "e") return IsEvidentlyDefined(x.args[1]);
      return (IsPositive(x.args[1]) || IsEvidentlyNotZero(x.args[0])) && are_defined();
    case Kind::kFunction:
      if (x.name == "factorial" || x.name == "double_factorial") return IsNatural(x);
      if (x.name == "gamma") return x.args.size() == 1 && IsPositive(x.args[0]);
      if (x.name == "binomial") return x.args.size() == 2 && IsNatural(x.args[0]) && IsNatural(x.args[1]);
      if (x.name == "sum" || x.name == "product") return x.args.size() == 4 && are_defined();
      if (IsOneOf(x.name, {"gcd", "lcm", "max", "min"})) return are_defined();
      if (x.name == "log")
        return !(x.args[0] == NumberOf(1)) && std::ranges::all_of(x.args, IsEvidentlyNotZero);
      return x.args.size() == 1 && IsOneOf(x.name, {"exp", "sin", "cos", "abs"}) && are_defined();
    case Kind::kAdd:
    case Kind::kMultiply:
      return are_defined();
    default:
      return false;
  }
}

Decision CompareTrees(const Expression& gold, const Expression& answer, Decision otherwise) {
  if (HasInfiniteArithmetic(gold)) return Unknown("undefined: arithmetic with an infinity");
  if (Canonical(gold) == Canonical(answer)) return Yes("written the same");
  return otherwise;
}

}  // namespace temper::math
