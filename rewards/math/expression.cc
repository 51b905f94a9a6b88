// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/expression.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/ascii.h"
#include "core/one_of.h"

namespace temper::math {
namespace {

constexpr std::string_view kHeads[] = {"",           "",       "",         "+",         "*",
                                       "^",          "",       "",         "",          "Set",
                                       "Tuple",      "List",   "Interval", "Union",     "Intersection",
                                       "Difference", "Matrix", "Percent",  "PlusMinus", ""};

std::string Quoted(const std::string& name) {
  const bool plain = !name.empty() && std::ranges::all_of(name, [](char c) {
    return absl::ascii_isalnum(c) || c == '_' || c == '\'';
  });
  return plain ? name : '"' + name + '"';
}

void Append(const Expression& tree, std::string* out) {
  switch (tree.kind) {
    case Kind::kNumber:
      *out += tree.name;
      return;
    case Kind::kSymbol:
      *out += Quoted(tree.name);
      return;
    case Kind::kConstant:
      *out += '#' + tree.name;
      return;
    case Kind::kText:
      *out += "text\"" + tree.name + '"';
      return;
    default:
      break;
  }
  const std::string_view head = kHeads[static_cast<size_t>(tree.kind)];
  *out += '(';
  *out += head.empty() ? Quoted(tree.name) : std::string(head);
  if (tree.kind == Kind::kInterval) *out += tree.name;
  for (const Expression& arg : tree.args) {
    *out += ' ';
    Append(arg, out);
  }
  *out += ')';
}

}  // namespace

int InfiniteSign(const Expression& x) {
  if (x.kind == Kind::kConstant && x.name == "oo") return 1;
  const bool negative = x.kind == Kind::kMultiply && x.args.size() == 2 && IsMinusOne(x.args[0]);
  return negative && x.args[1].kind == Kind::kConstant && x.args[1].name == "oo" ? -1 : 0;
}

bool IsNumberSet(const Expression& x) {
  return x.kind == Kind::kConstant && !x.name.empty() && IsOneOf(x.name[0], "NZQRC");
}

bool IsSet(const Expression& x) {
  return IsOneOf(x.kind, {Kind::kSet, Kind::kInterval, Kind::kUnion, Kind::kIntersection, Kind::kDifference});
}

size_t CountNodes(const Expression& expression) {
  size_t nodes = 1;
  for (const Expression& arg : expression.args) nodes += CountNodes(arg);
  return nodes;
}

std::string DebugString(const Expression& expression) {
  std::string out;
  Append(expression, &out);
  return out;
}

}  // namespace temper::math
