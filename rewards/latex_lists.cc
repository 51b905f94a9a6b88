// SPDX-License-Identifier: Apache-2.0
// Lists, relations and sets: what binds weaker than a sum.
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "rewards/latex.h"
#include "rewards/latex_parser.h"
#include "rewards/tags.h"

namespace temper {
namespace {

using Kind = LatexTokenKind;
using Tree = ExpressionKind;

bool IsEquation(const Expression& value) { return value.kind == Tree::kRelation && value.name == "="; }

bool IsInequality(const Expression& value) { return IsRelation(value) && !IsEquation(value); }

int CountNodes(const Expression& value) {
  int count = 1;
  for (const Expression& arg : value.args) count += CountNodes(arg);
  return count;
}

}  // namespace

char ConjunctionOf(std::string_view text) {
  std::string words = std::string(text);
  absl::AsciiStrToLower(&words);
  for (char& c : words) {
    if (c == ',' || c == '.' || c == '~' || c == ':') c = ' ';
  }
  const std::string_view bare = Trim(words);
  const std::string_view last = bare.substr(bare.rfind(' ') == bare.npos ? 0 : bare.rfind(' ') + 1);
  if (bare.empty()) return ',';
  if (last == "and") return '&';
  if (last == "or") return '|';
  for (const std::string_view word :
       {"if", "for", "where", "when", "with", "such that", "so", "then", "thus", "hence", "otherwise"}) {
    if (bare == word) return ',';
  }
  return 0;
}

LatexParser::LatexParser(std::string_view text, unsigned flips) : lexer_(text), flips_(flips) {
  int balance = 0;
  bool first = true;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\\' && at + 1 < text.size() && !absl::ascii_isalpha(text[at + 1])) {
      ++at;
    } else if (text[at] == '[' || text[at] == ']') {
      french_ = french_ || (first && text[at] == ']');
      first = false;
      balance += text[at] == '[' ? 1 : -1;
    }
  }
  french_ = french_ || balance != 0;
}

LatexParser::Deeper::Deeper(LatexParser* parser) : parser_(parser) {
  if (++parser->depth_ > kMaxLatexDepth) {
    parser->Fail(absl::StrCat("more than ", kMaxLatexDepth, " brackets and operators inside each other"));
  }
}

Expression LatexParser::Parse() {
  Expression tree = ParseStatement();
  if (!failed() && !At(Kind::kEnd)) Fail("nothing that can stand here");
  return tree;
}

Expression LatexParser::Fail(std::string_view what) {
  if (error_.empty()) {
    const bool lexical = At(Kind::kError);
    error_ = std::string(lexical ? Peek().text : what);
    error_at_ = Peek().begin;
    lexer_ = LatexLexer(lexer_.text().substr(0, 0));
  }
  return {};
}

bool LatexParser::Take(Kind kind) {
  if (!At(kind)) return false;
  lexer_.Skip();
  return true;
}

bool LatexParser::Take(Kind kind, std::string_view text) {
  if (!At(kind, text)) return false;
  lexer_.Skip();
  return true;
}

Kind LatexParser::PeekSecond() {
  Peek();
  LatexLexer ahead = lexer_;
  ahead.Skip();
  return ahead.Peek().kind;
}

Expression LatexParser::Nested(Expression expression) {
  if (++nested_ > kMaxLatexDepth) {
    return Fail(absl::StrCat("more than ", kMaxLatexDepth, " operators on one operand"));
  }
  return expression;
}

// The strongest of the separators that stand here: ; over & and | over the comma; 0: none.
char LatexParser::TakeSeparators() {
  char strongest = 0;
  while (true) {
    const LatexToken& token = Peek();
    char separator = 0;
    if (token.kind == Kind::kComma) separator = ',';
    if (token.kind == Kind::kBreak) separator = ',';
    if (token.kind == Kind::kSemicolon) separator = ';';
    if (token.kind == Kind::kConjunction) separator = token.text == "or" ? '|' : '&';
    if (token.kind == Kind::kText) separator = ConjunctionOf(token.text);
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
    const Kind next = Peek().kind;
    if (join == 0 || next == Kind::kEnd || next == Kind::kClose || next == Kind::kAmpersand ||
        next == Kind::kRow || next == Kind::kFinish) {
      return items;
    }
    items.joins.push_back(join);
  }
  return items;
}

Expression LatexParser::Join(Items items) {
  if (items.all.size() == 1) return std::move(items.all[0]);
  const bool words =
      std::any_of(items.joins.begin(), items.joins.end(), [](char j) { return j != ',' && j != ';'; });
  // x = 1, 2: the values of x.
  Expression& first = items.all[0];
  const bool binds =
      first.kind == Tree::kRelation && (first.name == "=" || first.name == "in" || first.name == "notin");
  if (binds && std::none_of(items.all.begin() + 1, items.all.end(), IsRelation)) {
    Expression values{Tree::kList, "", {std::move(first.args[1])}};
    std::move(items.all.begin() + 1, items.all.end(), std::back_inserter(values.args));
    first.args[1] = std::move(values);
    return std::move(first);
  }
  const bool relations = std::all_of(items.all.begin(), items.all.end(), IsRelation);
  if (words && relations && std::any_of(items.all.begin(), items.all.end(), IsInequality)) {
    return JoinWords(std::move(items), /*lists=*/false);
  }
  return JoinWords(std::move(items), /*lists=*/true);
}

// As lists: a; b is a list, a, b; c, d a list of tuples (so is x = 1, y = 2 or x = 3, y = 4). Else as logic.
Expression LatexParser::JoinWords(Items items, bool lists) {
  const bool semicolons = std::count(items.joins.begin(), items.joins.end(), ';') > 0;
  const bool ors = std::count(items.joins.begin(), items.joins.end(), '|') > 0;
  std::vector<Expression> groups;
  bool one = true, even = true;
  for (size_t i = 0; i < items.all.size(); ++i) {
    const char join = i == 0 ? ';' : items.joins[i - 1];
    const bool starts = i == 0 || (!lists ? join == '|' : semicolons ? join == ';' : join != ',');
    if (starts) groups.push_back({lists ? Tree::kTuple : Tree::kLogic, lists ? "" : "and", {}});
    groups.back().args.push_back(std::move(items.all[i]));
  }
  bool relations = true;
  for (const Expression& group : groups) {
    one = one && group.args.size() == 1;
    even = even && group.args.size() == groups[0].args.size() && group.args.size() > 1;
    relations = relations && std::all_of(group.args.begin(), group.args.end(), IsRelation);
  }
  if (!lists) {
    if (!ors) return std::move(groups[0]);
    for (Expression& group : groups) {
      if (group.args.size() == 1) group = Expression(std::move(group.args[0]));
    }
    return {Tree::kLogic, "or", std::move(groups)};
  }
  if (groups.size() > 1 && ((semicolons && !one) || (even && relations))) {
    return {Tree::kList, "", std::move(groups)};
  }
  Expression list{Tree::kList, "", {}};
  for (Expression& group : groups)
    std::move(group.args.begin(), group.args.end(), std::back_inserter(list.args));
  return list;
}

// One of a list: a relation, and {n \choose k}, a | b.
Expression LatexParser::ParseItem() {
  Expression item = ParseLogic(0);
  while (!failed()) {
    if (At(Kind::kInfix)) {
      const bool choose = Peek().text == "choose";
      lexer_.Skip();
      Expression right = ParseLogic(0);
      item = Nested(choose ? Node(Tree::kFunction, "binomial", std::move(item), std::move(right))
                           : Quotient(std::move(item), std::move(right)));
    } else if (context_.colon && context_.bars == 0 && (At(Kind::kMid) || At(Kind::kBar, "abs"))) {
      lexer_.Skip();
      Expression right = ParseLogic(0);
      item = Nested(Node(Tree::kFunction, "given", std::move(item), std::move(right)));
    } else {
      break;
    }
  }
  return item;
}

// Level 0: a \lor b; level 1: a \land b; level 2: \neg a.
Expression LatexParser::ParseLogic(int level) {
  if (level == 2) {
    bool negated = false, any = false;
    while (Take(Kind::kLogic, "not")) {
      negated = !negated;
      any = true;
    }
    Expression operand = ParseRelation();
    if (any && negated) return Node(Tree::kLogic, "not", std::move(operand));
    return operand;
  }
  const std::string_view name = level == 0 ? "or" : "and";
  Expression first = ParseLogic(level + 1);
  if (!At(Kind::kLogic, name)) return first;
  Expression logic = Node(Tree::kLogic, name, std::move(first));
  while (Take(Kind::kLogic, name)) logic.args.push_back(ParseLogic(level + 1));
  return logic;
}

bool LatexParser::TakeRelation(std::string* name, bool* reversed) {
  const bool negated = At(Kind::kNot);
  const Kind kind = negated ? PeekSecond() : Peek().kind;
  if (kind != Kind::kRelation && kind != Kind::kReversed && kind != Kind::kArrow) return false;
  if (negated) lexer_.Skip();
  *name = std::string(Peek().text);
  *reversed = kind == Kind::kReversed;
  lexer_.Skip();
  if (negated) {
    *name = *name == "=" ? "!=" : *name == "<" ? ">=" : *name == ">" ? "<=" : "not" + *name;
  }
  return true;
}

// 3 (mod 5), 3 \pmod{5}
Expression LatexParser::ParseModulus(Expression side) {
  Expression modulus;
  if (Take(Kind::kPmod)) {
    modulus = ParseArgument();
  } else if (At(Kind::kOpen, "(") && PeekSecond() == Kind::kMod) {
    lexer_.Skip();
    lexer_.Skip();
    modulus = ParseSum();
    if (!Take(Kind::kClose, "(")) return Fail("( is not closed");
  } else {
    return side;
  }
  return Node(Tree::kFunction, "mod", std::move(side), std::move(modulus));
}

Expression LatexParser::ParseRelation() {
  std::vector<Expression> sides;
  std::vector<std::string> names;
  std::string name;
  bool reversed = false;
  std::vector<bool> reversals;
  do {
    const bool braces = At(Kind::kOpen, "group");
    Expression side = ParseModulus(ParseSet(/*intersection=*/false));
    const bool group = braces && group_end_ == lexer_.position();
    const bool of_sets =
        !names.empty() && (names.back().ends_with("in") || names.back().find("subset") != name.npos);
    sides.push_back(of_sets ? AsSet(std::move(side), group) : std::move(side));
    if (failed() || Done() || !TakeRelation(&name, &reversed)) break;
    if (name.find("subset") != name.npos) sides.back() = AsSet(std::move(sides.back()), group);
    names.push_back(name);
    reversals.push_back(reversed);
  } while (true);
  if (names.empty()) return std::move(sides[0]);
  std::vector<Expression> relations;
  for (size_t i = 0; i < names.size(); ++i) {
    Expression left, right;
    const bool last = i + 1 == names.size();
    if (!last && (copied_ += CountNodes(sides[i + 1])) > kMaxLatexNodes) return Fail("too long a chain");
    left = std::move(sides[i]);
    right = last ? std::move(sides[i + 1]) : sides[i + 1];
    if (reversals[i]) std::swap(left, right);
    relations.push_back(Node(Tree::kRelation, names[i], std::move(left), std::move(right)));
  }
  if (relations.size() == 1) return std::move(relations[0]);
  return {Tree::kLogic, "and", std::move(relations)};
}

// Unions and differences, and intersections, which bind stronger.
Expression LatexParser::ParseSet(bool intersection) {
  const auto operand = [&](bool* braces) {
    *braces = At(Kind::kOpen, "group");
    Expression value = intersection ? ParseSum() : ParseSet(true);
    *braces = *braces && group_end_ == lexer_.position();
    return value;
  };
  bool braces = false;
  Expression value = operand(&braces);
  while (!failed() && !Done()) {
    const Kind kind = Peek().kind;
    if (intersection ? kind != Kind::kIntersection : kind != Kind::kUnion && kind != Kind::kDifference) break;
    lexer_.Skip();
    value = AsSet(std::move(value), braces);
    Expression right = operand(&braces);
    right = AsSet(std::move(right), braces);
    braces = false;
    const Tree tree = intersection           ? Tree::kIntersection
                      : kind == Kind::kUnion ? Tree::kUnion
                                             : Tree::kDifference;
    if (tree == value.kind && tree != Tree::kDifference) {
      value.args.push_back(std::move(right));
    } else {
      value = Nested(Node(tree, "", std::move(value), std::move(right)));
    }
  }
  return value;
}

Expression LatexParser::AsSet(Expression operand, bool braces) {
  if (operand.kind == Tree::kTuple && operand.args.size() == 2) {
    operand.kind = Tree::kInterval;
    operand.name = "()";
  }
  if (braces && !IsSetLike(operand)) return Node(Tree::kSet, "", std::move(operand));
  return operand;
}

}  // namespace temper
