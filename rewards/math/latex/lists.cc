// SPDX-License-Identifier: Apache-2.0
// Lists: a, b; c and d.
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "core/one_of.h"
#include "rewards/completion/tags.h"
#include "rewards/math/latex/parser.h"

namespace temper::math {
namespace {

bool IsInequality(const Expression& value) { return IsRelation(value) && !IsEquation(value); }

}  // namespace

char ConjunctionOf(std::string_view text) {
  std::string words = std::string(text);
  absl::AsciiStrToLower(&words);
  for (char& c : words) {
    if (IsOneOf(c, ",.~:")) c = ' ';
  }
  const std::string_view bare = Trim(words);
  const std::string_view last = bare.substr(bare.rfind(' ') == bare.npos ? 0 : bare.rfind(' ') + 1);
  if (bare.empty()) return ',';
  if (last == "and") return '&';
  if (last == "or") return '|';
  for (const std::string_view word :
       {"if", "for", "where", "when", "with", "such that", "so", "then", "thus", "hence", "otherwise",
        "approximately", "approx", "about", "exactly", "around", "roughly"}) {
    if (bare == word) return ',';
  }
  return 0;
}

// The strongest of the separators that stand here: ; over & and | over the comma; 0: none.
char LatexParser::TakeSeparators() {
  char strongest = 0;
  while (true) {
    const LatexToken& token = Peek();
    char separator = 0;
    if (token.kind == TokenKind::kComma) separator = ',';
    if (token.kind == TokenKind::kBreak) separator = ',';
    if (token.kind == TokenKind::kSemicolon) separator = ';';
    if (token.kind == TokenKind::kAmpersand && lexer_.matrices == 0) separator = '&';  // 3 \& 5
    if (token.kind == TokenKind::kConjunction) separator = token.text == "or" ? '|' : '&';
    if (token.kind == TokenKind::kText) separator = ConjunctionOf(token.text);
    if (ConditionFollows()) {
      separator = ',';
      in_condition_ = true;
    } else if (in_condition_ && At(TokenKind::kClose, "(")) {
      separator = ',';
      in_condition_ = false;
    }
    if (separator == 0) return strongest;
    if (strongest != ';' && !(separator == ',' && strongest != 0)) strongest = separator;
    lexer_.Skip();
  }
}

LatexParser::Items LatexParser::ParseItems() {
  Items items;
  TakeSeparators();
  while (!failed()) {
    items.all.push_back(ParseItem());
    const char join = TakeSeparators();
    const TokenKind next = Peek().kind;
    if (join == 0 || IsOneOf(next, {TokenKind::kEnd, TokenKind::kClose, TokenKind::kAmpersand,
                                    TokenKind::kRow, TokenKind::kFinish})) {
      return items;
    }
    items.joins.push_back(join);
  }
  return items;
}

Expression LatexParser::Join(Items items) {
  if (items.all.size() == 1) return std::move(items.all[0]);
  const bool words = std::ranges::any_of(items.joins, [](char j) { return j != ',' && j != ';'; });
  // x = 1, 2: the values of x.
  Expression& first = items.all[0];
  const bool binds = first.kind == Kind::kRelation && IsOneOf(first.name, {"=", "in", "notin"});
  if (binds && std::none_of(items.all.begin() + 1, items.all.end(), IsRelation)) {
    Expression values{Kind::kList, "", {std::move(first.args[1])}};
    std::move(items.all.begin() + 1, items.all.end(), std::back_inserter(values.args));
    first.args[1] = std::move(values);
    return std::move(first);
  }
  const bool relations = std::ranges::all_of(items.all, IsRelation);
  if (words && relations && std::ranges::any_of(items.all, IsInequality)) {
    return JoinWords(std::move(items), /*lists=*/false);
  }
  return JoinWords(std::move(items), /*lists=*/true);
}

// As lists: a; b is a list, a, b; c, d a list of tuples (so is x = 1, y = 2 or x = 3, y = 4). Else as logic.
Expression LatexParser::JoinWords(Items items, bool lists) {
  const bool semicolons = std::ranges::count(items.joins, ';') > 0;
  const bool ors = std::ranges::count(items.joins, '|') > 0;
  std::vector<Expression> groups;
  bool one = true, even = true;
  for (size_t i = 0; i < items.all.size(); ++i) {
    const char join = i == 0 ? ';' : items.joins[i - 1];
    const bool starts = i == 0 || (!lists ? join == '|' : semicolons ? join == ';' : join != ',');
    if (starts) groups.push_back({lists ? Kind::kTuple : Kind::kLogic, lists ? "" : "and", {}});
    groups.back().args.push_back(std::move(items.all[i]));
  }
  bool relations = true;
  for (const Expression& group : groups) {
    one = one && group.args.size() == 1;
    even = even && group.args.size() == groups[0].args.size() && group.args.size() > 1;
    relations = relations && std::ranges::all_of(group.args, IsRelation);
  }
  if (!lists) {
    if (!ors) return std::move(groups[0]);
    for (Expression& group : groups) {
      if (group.args.size() == 1) group = Expression(std::move(group.args[0]));
    }
    return {Kind::kLogic, "or", std::move(groups)};
  }
  if (groups.size() > 1 && ((semicolons && !one) || (even && relations))) {
    return {Kind::kList, "", std::move(groups)};
  }
  Expression list{Kind::kList, "", {}};
  for (Expression& group : groups) std::ranges::move(group.args, std::back_inserter(list.args));
  return list;
}

// One of a list: a relation, and {n \choose k}, a | b.
Expression LatexParser::ParseItem() {
  // = 12, \approx 17.1: the left side is left out.
  if (At(TokenKind::kRelation, "=") || At(TokenKind::kRelation, "approx") ||
      At(TokenKind::kRelation, "sim") || At(TokenKind::kRelation, "cong"))
    lexer_.Skip();
  Expression item = ParseLogic(0);
  while (!failed()) {
    if (At(TokenKind::kInfix)) {
      const bool choose = Peek().text == "choose";
      lexer_.Skip();
      Expression right = ParseLogic(0);
      item = Nested(choose ? Node(Kind::kFunction, "binomial", std::move(item), std::move(right))
                           : Quotient(std::move(item), std::move(right)));
    } else if (context_.colon && context_.bars == 0 && (At(TokenKind::kMid) || At(TokenKind::kBar, "abs"))) {
      lexer_.Skip();
      Expression right = ParseLogic(0);
      item = Nested(Node(Kind::kFunction, "given", std::move(item), std::move(right)));
    } else {
      break;
    }
  }
  return item;
}

}  // namespace temper::math
