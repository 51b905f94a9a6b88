// SPDX-License-Identifier: Apache-2.0
// Logic, relations and operations on sets.
#include <utility>

#include "core/one_of.h"
#include "rewards/math/latex/latex.h"
#include "rewards/math/latex/parser.h"

namespace temper::math {
// Level 0: a \lor b; level 1: a \land b; level 2: \neg a.
Expression LatexParser::ParseLogic(int level) {
  if (level == 2) {
    bool negated = false, any = false;
    while (Take(TokenKind::kLogic, "not")) {
      negated = !negated;
      any = true;
    }
    Expression operand = ParseRelation();
    if (any && negated) return Node(Kind::kLogic, "not", std::move(operand));
    return operand;
  }
  const std::string_view name = level == 0 ? "or" : "and";
  Expression first = ParseLogic(level + 1);
  if (!At(TokenKind::kLogic, name)) return first;
  Expression logic = Node(Kind::kLogic, name, std::move(first));
  while (Take(TokenKind::kLogic, name)) logic.args.push_back(ParseLogic(level + 1));
  return logic;
}

bool LatexParser::TakeRelation(std::string* name, bool* reversed) {
  const bool negated = At(TokenKind::kNot);
  const TokenKind kind = negated ? PeekSecond() : Peek().kind;
  if (!IsOneOf(kind, {TokenKind::kRelation, TokenKind::kReversed, TokenKind::kArrow})) return false;
  if (negated) lexer_.Skip();
  *name = std::string(Peek().text);
  *reversed = kind == TokenKind::kReversed;
  lexer_.Skip();
  if (negated) {
    *name = *name == "=" ? "!=" : *name == "<" ? ">=" : *name == ">" ? "<=" : "not" + *name;
  }
  return true;
}

// 3 (mod 5), 3 \pmod{5}
Expression LatexParser::ParseModulus(Expression side) {
  Expression modulus;
  if (Take(TokenKind::kPmod)) {
    modulus = ParseArgument();
  } else if (At(TokenKind::kOpen, "(") && PeekSecond() == TokenKind::kMod) {
    lexer_.Skip();
    lexer_.Skip();
    modulus = ParseSum();
    if (!Take(TokenKind::kClose, "(")) return Fail("( is not closed");
  } else {
    return side;
  }
  return Node(Kind::kFunction, "mod", std::move(side), std::move(modulus));
}

Expression LatexParser::ParseRelation() {
  std::vector<Expression> sides;
  std::vector<std::string> names;
  std::string name;
  bool reversed = false;
  std::vector<bool> reversals;
  do {
    const bool braces = At(TokenKind::kOpen, "group");
    Expression side = ParseModulus(ParseSet(/*intersection=*/false));
    const bool group = braces && group_end_ == lexer_.position();
    const bool of_sets =
        !names.empty() && (names.back().ends_with("in") || names.back().find("subset") != name.npos);
    // k \in Z is written for k \in \mathbb{Z}.
    if (!names.empty() && names.back().ends_with("in") && side.kind == Kind::kSymbol &&
        side.name.size() == 1 && IsOneOf(side.name[0], "NZQRC"))
      side.kind = Kind::kConstant;
    sides.push_back(of_sets ? AsSet(std::move(side), group) : std::move(side));
    if (failed() || Done() || !TakeRelation(&name, &reversed)) break;
    if (name.find("subset") != name.npos) sides.back() = AsSet(std::move(sides.back()), group);
    names.push_back(name);
    reversals.push_back(reversed);
  } while (true);
  // 8 (mod 11) alone is a class, and 8 mod 11 is no way to write the number.
  if (names.empty() && sides[0].kind == Kind::kFunction && sides[0].name == "mod" && !Known("mod") &&
      IsWhole(sides[0].args[0]) && IsWhole(sides[0].args[1]) &&
      std::pair(sides[0].args[0].name.size(), sides[0].args[0].name) <
          std::pair(sides[0].args[1].name.size(), sides[0].args[1].name))
    return Fail("a class of residues");
  if (names.empty()) return std::move(sides[0]);
  std::vector<Expression> relations;
  for (size_t i = 0; i < names.size(); ++i) {
    Expression left, right;
    const bool last = i + 1 == names.size();
    if (!last && (copied_ += CountNodes(sides[i + 1])) > kMaxLatexNodes) return Fail("too long a chain");
    left = std::move(sides[i]);
    right = last ? std::move(sides[i + 1]) : sides[i + 1];
    if (reversals[i]) std::swap(left, right);
    relations.push_back(Node(Kind::kRelation, names[i], std::move(left), std::move(right)));
  }
  if (relations.size() == 1) return std::move(relations[0]);
  return {Kind::kLogic, "and", std::move(relations)};
}

// Unions and differences, and intersections, which bind stronger.
Expression LatexParser::ParseSet(bool intersection) {
  const auto operand = [&](bool* braces) {
    *braces = At(TokenKind::kOpen, "group");
    Expression value = intersection ? ParseSum() : ParseSet(true);
    *braces = *braces && group_end_ == lexer_.position();
    return value;
  };
  bool braces = false;
  Expression value = operand(&braces);
  while (!failed() && !Done()) {
    const TokenKind kind = Peek().kind;
    if (intersection ? kind != TokenKind::kIntersection
                     : kind != TokenKind::kUnion && kind != TokenKind::kDifference)
      break;
    lexer_.Skip();
    value = AsSet(std::move(value), braces);
    Expression right = operand(&braces);
    right = AsSet(std::move(right), braces);
    braces = false;
    const Kind tree = intersection                ? Kind::kIntersection
                      : kind == TokenKind::kUnion ? Kind::kUnion
                                                  : Kind::kDifference;
    if (tree == value.kind && tree != Kind::kDifference) {
      value.args.push_back(std::move(right));
    } else {
      value = Nested(Node(tree, "", std::move(value), std::move(right)));
    }
  }
  return value;
}

Expression LatexParser::AsSet(Expression operand, bool braces) {
  if (operand.kind == Kind::kTuple && operand.args.size() == 2) {
    operand.kind = Kind::kInterval;
    operand.name = "()";
  }
  if (braces && !IsSetLike(operand)) return Node(Kind::kSet, "", std::move(operand));
  return operand;
}

}  // namespace temper::math
