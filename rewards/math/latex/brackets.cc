// SPDX-License-Identifier: Apache-2.0
// Brackets, bars and matrices.
#include <algorithm>
#include <utility>

#include "core/one_of.h"
#include "rewards/math/latex/parser.h"

namespace temper::math {

// The items of a bracket, up to what closes it.
std::vector<Expression> LatexParser::ParseInside(bool group_digits) {
  const Enter enter(this, Context{.group_digits = group_digits});
  return ParseItems().all;
}

Expression LatexParser::ParseBracket() {
  const std::string open(Peek().text);
  if (open == "group") return ParseGroup();
  if (open == "{") return ParseBraces();
  lexer_.Skip();
  std::vector<Expression> items = ParseInside(/*group_digits=*/false);
  if (failed()) return {};
  const bool round = open == "(" || open == "[";
  const bool french = At(TokenKind::kOpen, "[") && round && items.size() == 2;
  const std::string close(french ? "(" : Peek().text);
  if (!french && (!At(TokenKind::kClose) || (close != open && !(round && (close == "(" || close == "["))))) {
    return Fail("a bracket that is not closed so");
  }
  lexer_.Skip();
  return Bracketed(open, close, std::move(items));
}

Expression LatexParser::Bracketed(std::string_view open, std::string_view close,
                                  std::vector<Expression> items) {
  if (IsOneOf(open, {"floor", "ceil", "abs", "norm"})) {
    if (items.size() != 1) return Fail("more than one value between bars");
    if (open == "abs" && items[0].kind == Kind::kMatrix) open = "det";
    return Node(Kind::kFunction, open, ScalarOf(std::move(items[0])));
  }
  if (open == "<") return {Kind::kTuple, "", std::move(items)};
  const bool pair = items.size() == 2;
  if (open != close && !pair) return Fail("an interval that has not two ends");
  if (items.size() == 1) return std::move(items[0]);
  const bool interval =
      pair && (open != "(" || close != "(" || InfiniteSign(items[0]) != 0 || InfiniteSign(items[1]) != 0);
  if (!interval) return {Kind::kTuple, "", std::move(items)};
  return {Kind::kInterval, std::string(open) + (close == "(" ? ")" : "]"), std::move(items)};
}

// ]a, b[, ]a, b]: only here, where no bracket can close.
Expression LatexParser::ParseFrench() {
  if (!french_) return Fail("a closing bracket where an operand is due");
  lexer_.Skip();
  std::vector<Expression> items = ParseInside(/*group_digits=*/false);
  if (failed()) return {};
  const bool open = At(TokenKind::kOpen, "[");
  if ((!open && !At(TokenKind::kClose, "[") && !At(TokenKind::kClose, "(")) || items.size() != 2) {
    return Fail("an interval ] that is not closed");
  }
  const bool closed = At(TokenKind::kClose, "[");
  lexer_.Skip();
  return {Kind::kInterval, closed ? "(]" : "()", std::move(items)};
}

// \{1, 2\}, \{x | x > 0\}, \{x : x > 0\}; and \left\{ .. \right. around equations.
Expression LatexParser::ParseBraces() {
  lexer_.Skip();
  Expression set{Kind::kSet, "", {}};
  {
    const Enter enter(this, Context{.colon = false, .group_digits = false});
    if (!At(TokenKind::kClose, "{")) set.args = ParseItems().all;
    if (!failed() && (At(TokenKind::kMid) || At(TokenKind::kBar, "abs") || At(TokenKind::kColon))) {
      if (set.args.size() != 1) return Fail("a set of several things with a condition");
      lexer_.Skip();
      context_.colon = true;
      std::vector<Expression> conditions = ParseItems().all;
      set = {Kind::kFunction, "set_builder", std::move(set.args)};
      std::ranges::move(conditions, std::back_inserter(set.args));
    }
  }
  if (failed()) return {};
  if (Take(TokenKind::kClose, "none")) {
    return set.args.size() == 1 ? Expression(std::move(set.args[0]))
                                : Expression{Kind::kList, "", std::move(set.args)};
  }
  if (!Take(TokenKind::kClose, "{")) return Fail("\\{ is not closed");
  return set;
}

// |x|, \|x\|
Expression LatexParser::ParseBars() {
  const std::string name(Peek().text);
  lexer_.Skip();
  Expression inside;
  {
    Context context;
    context.bars = context_.bars + 1;
    const Enter enter(this, context);
    inside = ParseSum();
  }
  if (failed()) return {};
  if (!At(TokenKind::kBar, name) && !At(TokenKind::kClose, name)) return Fail("a bar | that is not closed");
  lexer_.Skip();
  const bool determinant = name == "abs" && inside.kind == Kind::kMatrix;
  return Node(Kind::kFunction, determinant ? "det" : name, ScalarOf(std::move(inside)));
}

Expression LatexParser::ParseEnvironment() {
  const std::string name(Peek().text);
  lexer_.Skip();
  const bool cases = name.find("cases") != name.npos;
  const bool array = name == "array" || name == "tabular";
  const bool matrix = name.find("matrix") != name.npos;
  if (array && At(TokenKind::kOpen, "group")) lexer_.Raw();
  std::vector<std::vector<Expression>> rows(1);
  lexer_.matrices += cases || array || matrix;
  {
    const Enter enter(this, Context{});
    if (!cases && !array && !matrix) rows[0].push_back(ParseStatement());
    while (!failed() && !At(TokenKind::kFinish)) {
      if (Take(TokenKind::kAmpersand)) continue;
      if (Take(TokenKind::kRow)) {
        if (!rows.back().empty()) rows.emplace_back();
        continue;
      }
      const bool remark = At(TokenKind::kText) && ConjunctionOf(Peek().text) == ',';  // otherwise
      const TokenKind next = remark ? PeekSecond() : TokenKind::kEnd;
      if (IsOneOf(next, {TokenKind::kAmpersand, TokenKind::kRow, TokenKind::kFinish})) {
        lexer_.Skip();
        continue;
      }
      rows.back().push_back(ParseStatement());
      if (!failed() && !At(TokenKind::kAmpersand) && !At(TokenKind::kRow) && !At(TokenKind::kFinish)) {
        return Fail("nothing that can stand in a matrix");
      }
    }
  }
  lexer_.matrices -= cases || array || matrix;
  if (!Take(TokenKind::kFinish, name)) return Fail("an environment that is not ended");
  if (rows.back().empty()) rows.pop_back();
  if (rows.empty()) return Fail("an empty environment");
  if (!cases && !array && !matrix) return std::move(rows[0][0]);
  return Environment(name, std::move(rows));
}

Expression LatexParser::Environment(std::string_view name, std::vector<std::vector<Expression>> rows) {
  const bool cases = name.find("cases") != name.npos;
  const bool equations =
      std::ranges::all_of(rows, [](const auto& row) { return row.size() == 1 && IsRelation(row[0]); });
  Expression node{cases ? Kind::kFunction : Kind::kMatrix, cases ? "piecewise" : "", {}};
  if (equations) node = {Kind::kList, "", {}};
  const size_t columns = rows[0].size();
  for (std::vector<Expression>& row : rows) {
    if (row.size() != columns && !cases) return Fail("a matrix whose rows differ in length");
    if (equations) {
      node.args.push_back(std::move(row[0]));
    } else {
      node.args.push_back({Kind::kTuple, "", std::move(row)});
    }
  }
  if (equations && node.args.size() == 1) return Expression(std::move(node.args[0]));
  if (name == "vmatrix") return Node(Kind::kFunction, "det", std::move(node));
  if (name == "Vmatrix") return Node(Kind::kFunction, "norm", std::move(node));
  return node;
}

}  // namespace temper::math
