// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/expression.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/ascii.h"

namespace temper::math {
namespace {

constexpr std::string_view kHeads[] = {"",           "",       "",         "+",         "*",
                                       "^",          "",       "",         "",          "Set",
                                       "Tuple",      "List",   "Interval", "Union",     "Intersection",
                                       "Difference", "Matrix", "Percent",  "PlusMinus", ""};

std::string Quoted(const std::string& name) {
  const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '_' || c == '\'';
  });
  return plain ? name : '"' + name + '"';
}

void Append(const Expression& tree, std::string* out) {
  switch (tree.kind) {
    case ExpressionKind::kNumber:
      *out += tree.name;
      return;
    case ExpressionKind::kSymbol:
      *out += Quoted(tree.name);
      return;
    case ExpressionKind::kConstant:
      *out += '#' + tree.name;
      return;
    case ExpressionKind::kText:
      *out += "text\"" + tree.name + '"';
      return;
    default:
      break;
  }
  const std::string_view head = kHeads[static_cast<size_t>(tree.kind)];
  *out += '(';
  *out += head.empty() ? Quoted(tree.name) : std::string(head);
  if (tree.kind == ExpressionKind::kInterval) *out += tree.name;
  for (const Expression& arg : tree.args) {
    *out += ' ';
    Append(arg, out);
  }
  *out += ')';
}

}  // namespace

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
