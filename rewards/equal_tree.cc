// SPDX-License-Identifier: Apache-2.0
// Expressions as they are written.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "rewards/equal_parts.h"

namespace temper {
namespace {

using Kind = ExpressionKind;

std::string Canonical(const Expression& x) {
  std::vector<std::string> parts;
  for (const Expression& arg : x.args) {
    if (arg.kind == x.kind && (x.kind == Kind::kAdd || x.kind == Kind::kMultiply)) {
      for (const Expression& inner : arg.args) parts.push_back(Canonical(inner));
    } else {
      parts.push_back(Canonical(arg));
    }
  }
  if (x.kind == Kind::kAdd || x.kind == Kind::kMultiply) std::sort(parts.begin(), parts.end());
  const std::string name = x.kind == Kind::kSymbol ? SymbolKey(x.name) : x.name;
  std::string text = absl::StrCat(static_cast<int>(x.kind), "'", name, "(");
  for (const std::string& part : parts) absl::StrAppend(&text, part, ",");
  return text + ")";
}

bool IsPositive(const Expression& x);

bool IsRealNumber(const Expression& x) {
  const bool product = x.kind == Kind::kMultiply && x.args.size() == 2;
  return x.kind == Kind::kNumber || IsPositive(x) ||
         (product && x.args[0] == NumberOf(-1) && IsPositive(x.args[1]));
}

bool IsPositive(const Expression& x) {
  switch (x.kind) {
    case Kind::kNumber:
      return x.name[0] != '-' && x.name.find_first_of("123456789") != std::string::npos;
    case Kind::kConstant:
      return x.name == "pi" || x.name == "e";
    case Kind::kPower:
      return IsPositive(x.args[0]) && IsRealNumber(x.args[1]);
    case Kind::kAdd:
    case Kind::kMultiply:
      return std::all_of(x.args.begin(), x.args.end(), IsPositive);
    default:
      return false;
  }
}

// oo - oo, 0 oo: an infinity among terms, factors or in a power.
bool HasInfiniteArithmetic(const Expression& x) {
  int sign = 0;
  if (IsInfinite(x, &sign)) return false;
  const bool arithmetic = x.kind == Kind::kAdd || x.kind == Kind::kMultiply || x.kind == Kind::kPower;
  return std::any_of(x.args.begin(), x.args.end(), [&](const Expression& arg) {
    return (arithmetic && IsInfinite(arg, &sign)) || HasInfiniteArithmetic(arg);
  });
}

}  // namespace

bool IsEvidentlyDefined(const Expression& x) {
  if (x.kind == Kind::kNumber || x.kind == Kind::kSymbol || IsPositive(x)) return true;
  if (x.kind == Kind::kPower) return IsPositive(x.args[1]) && IsEvidentlyDefined(x.args[0]);
  if (x.kind != Kind::kAdd && x.kind != Kind::kMultiply) return false;
  return std::all_of(x.args.begin(), x.args.end(), IsEvidentlyDefined);
}

Decision CompareTrees(const Expression& gold, const Expression& answer, Decision otherwise) {
  if (HasInfiniteArithmetic(gold)) return Unknown("undefined: arithmetic with an infinity");
  if (Canonical(gold) == Canonical(answer)) return Yes("written the same");
  return otherwise;
}

}  // namespace temper
