// SPDX-License-Identifier: Apache-2.0
// What binds a variable: sums, integrals, limits, derivatives.
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "rewards/completion/tags.h"
#include "rewards/math/latex/parser.h"

namespace temper::math {
namespace {

// The letter i by itself: \sum_{i=1}, \sum_{1 \le i < j}.
bool NamesI(std::string_view text) {
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\\') {
      while (at + 1 < text.size() && absl::ascii_isalpha(text[at + 1])) ++at;
    } else if (text[at] == 'i') {
      return true;
    }
  }
  return false;
}

// `dx^2`, `\partial x`: what follows the d; null data: there is no d.
std::string_view BehindD(std::string_view text) {
  text = Trim(text);
  for (const std::string_view d :
       {"\\mathrm{d}", "\\text{d}", "\\partial", "\\differentialD", "\\rm d", "d"}) {
    if (text.starts_with(d)) return TrimLeft(text.substr(d.size()));
  }
  return {};
}

// ^2 or ^{2} off the front: 1 to 9, 1 where there is none, 0 where there is something else.
int TakeOrder(std::string_view* text) {
  if (!text->starts_with("^")) return 1;
  std::string_view rest = TrimLeft(text->substr(1));
  const bool braces = rest.starts_with("{");
  if (braces) rest = TrimLeft(rest.substr(1));
  if (rest.empty() || rest[0] < '1' || rest[0] > '9') return 0;
  const int order = rest[0] - '0';
  rest = TrimLeft(rest.substr(1));
  if (braces && !rest.starts_with("}")) return 0;
  *text = TrimLeft(rest.substr(braces ? 1 : 0));
  return order;
}

}  // namespace

Expression LatexParser::ParseBig() {
  const std::string name(Peek().text);
  lexer_.Skip();
  if (name == "limit") return ParseLimit();
  if (name == "sum" || name == "product") return ParseSeries(name);
  return ParseIntegral(name == "iiint" ? 3 : name == "iint" ? 2 : 1);
}

// What stands above or below a sum or an integral; none: it is empty.
std::optional<Expression> LatexParser::ParseBound() {
  if (!At(TokenKind::kOpen, "group")) {
    const bool negative = TakeSigns();
    if (At(TokenKind::kWord)) lexer_.Narrow();
    Expression bound = ParseAtom();
    return negative ? Negative(std::move(bound)) : bound;
  }
  LatexLexer ahead = lexer_;
  if (Trim(ahead.Raw()).empty()) {
    lexer_ = ahead;
    return std::nullopt;
  }
  return ParseArgument();
}

// What a sum, an integral or a limit is of.
Expression LatexParser::ParseBody(bool sum) {
  Context context = context_;
  context.in_function = false;
  const Enter enter(this, context);
  return ScalarOf(sum ? ParseSum() : ParseProduct());
}

Expression LatexParser::ParseSeries(std::string_view name) {
  std::optional<Expression> condition, high;
  int index_i = 0;
  while (!failed() && (At(TokenKind::kUnder) || At(TokenKind::kCaret))) {
    const bool below = At(TokenKind::kUnder);
    lexer_.Skip();
    if (below && At(TokenKind::kOpen, "group")) {
      LatexLexer ahead = lexer_;
      index_i = NamesI(ahead.Raw());
    } else if (below) {
      index_i = At(TokenKind::kWord) && Peek().text[0] == 'i';
    }
    if (below) index_i_ += index_i;
    (below ? condition : high) = ParseBound();
    if (below) index_i_ -= index_i;
  }
  index_i_ += index_i;
  Expression body = ParseBody(/*sum=*/false);
  index_i_ -= index_i;
  if (failed()) return {};
  if (!condition.has_value()) return Fail("a sum or a product without an index");
  const bool from = condition->kind == Kind::kRelation && condition->name == "=" &&
                    condition->args[0].kind == Kind::kSymbol;
  if (!from || !high.has_value()) {
    if (high.has_value()) return Fail("a sum to somewhere, but from nowhere");
    return Node(Kind::kFunction, name, std::move(body), *std::move(condition));
  }
  return Node(Kind::kFunction, name, std::move(body), std::move(condition->args[0]),
              std::move(condition->args[1]), *std::move(high));
}

Expression LatexParser::ParseIntegral(int variables) {
  std::optional<Expression> low, high;
  while (!failed() && (At(TokenKind::kUnder) || At(TokenKind::kCaret))) {
    const bool below = At(TokenKind::kUnder);
    lexer_.Skip();
    (below ? low : high) = ParseBound();
  }
  Integral integral;
  Integral* const outside = std::exchange(integral_, &integral);
  Expression body = ParseBody(/*sum=*/true);
  if (!failed() && !integral.variable.has_value()) Fail("an integral without its dx");
  for (int more = 1; more <= variables && !failed(); ++more) {
    body = Node(Kind::kFunction, "integral", std::move(body), *std::move(integral.variable));
    integral.variable.reset();
    if (more < variables) {
      const bool d = At(TokenKind::kPartial) || (At(TokenKind::kWord) && Peek().text[0] == 'd');
      if (d && At(TokenKind::kWord) && Peek().text.size() > 1) lexer_.Split();
      if (d) lexer_.Skip();
      if (!d || !TakeDifferential()) Fail("a double integral without its second variable");
    }
  }
  integral_ = outside;
  if (failed()) return {};
  for (std::optional<Expression>* bound : {&low, &high}) {
    if (bound->has_value()) body.args.push_back(std::move(**bound));
  }
  return body;
}

Expression LatexParser::ParseLimit() {
  if (!Take(TokenKind::kUnder) || !At(TokenKind::kOpen, "group")) return Fail("a limit without _{x \\to ..}");
  lexer_.Skip();
  Expression variable, point;
  std::string side;
  {
    const Enter enter(this, Context{});
    variable = ParsePostfix();
    if (!Take(TokenKind::kArrow) && !Take(TokenKind::kRelation, "implies"))
      return Fail("a limit without \\to");
    std::string* const outside = std::exchange(side_, &side);
    point = ParseSum();
    side_ = outside;
  }
  if (!Take(TokenKind::kClose, "group")) return Fail("{ is not closed");
  Expression body = ParseBody(/*sum=*/false);
  Expression limit = Node(Kind::kFunction, "limit", std::move(body), std::move(variable), std::move(point));
  if (!side.empty()) limit.args.push_back({Kind::kText, side, {}});
  return limit;
}

// At a \frac: \frac{d}{dx} f, \frac{dy}{dx}, \frac{d^2y}{dx^2}, the same with \partial. False: none of them.
bool LatexParser::ParseDerivative(Expression* result) {
  LatexLexer ahead = lexer_;
  ahead.Skip();
  if (!ahead.Peek().Is(TokenKind::kOpen, "group")) return false;
  std::string_view over = BehindD(ahead.Raw());
  if (over.data() == nullptr || !ahead.Peek().Is(TokenKind::kOpen, "group")) return false;
  std::string_view under = BehindD(ahead.Raw());
  const int order = TakeOrder(&over);
  if (under.empty() || order == 0) return false;
  LatexLexer variable(under);
  variable.Narrow();
  const TokenKind kind = variable.Peek().kind;
  if (kind != TokenKind::kWord && kind != TokenKind::kSymbol) return false;
  Expression of = Node(Kind::kSymbol, variable.Peek().text);
  variable.Skip();
  std::string_view rest = TrimLeft(under.substr(variable.position()));
  if (TakeOrder(&rest) != order || !rest.empty()) return false;
  Expression body;
  if (Trim(over).empty()) {
    lexer_ = ahead;
    body = ParseImplicit();
  } else {
    const std::string_view text = lexer_.text();
    const size_t begin = over.data() - text.data();
    lexer_ = LatexLexer(text.substr(0, begin + over.size()));
    lexer_.Jump(begin);
    body = ParseProduct();
    if (!failed() && !At(TokenKind::kEnd)) Fail("nothing that can stand in a derivative");
    if (!failed()) lexer_ = ahead;
  }
  *result =
      Node(Kind::kFunction, "derivative", std::move(body), std::move(of), NumberNode(absl::StrCat(order)));
  return true;
}

}  // namespace temper::math
