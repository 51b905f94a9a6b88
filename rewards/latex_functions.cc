// SPDX-License-Identifier: Apache-2.0
// Functions and what binds a variable: sums, integrals, limits, derivatives.
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "rewards/latex_parser.h"
#include "rewards/tags.h"

namespace temper {
namespace {

using Kind = LatexTokenKind;
using Tree = ExpressionKind;

bool IsTrigonometric(std::string_view name) {
  for (const std::string_view known : {"sin", "cos", "tan", "cot", "sec", "csc"}) {
    if (name == known) return true;
  }
  return false;
}

bool HasInverse(std::string_view name) {
  return IsTrigonometric(name.substr(0, 3)) && (name.size() == 3 || (name.size() == 4 && name[3] == 'h'));
}

// f and its like are never factors.
bool IsAlwaysFunction(std::string_view name) {
  const std::string_view base = name.substr(0, name.find_first_of("_'"));
  for (const std::string_view known : {"f", "g", "F", "G", "P", "Gamma"}) {
    if (base == known) return true;
  }
  return name.ends_with("'");
}

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

Expression LatexParser::ParseFunction() {
  const std::string name(Peek().text);
  lexer_.Skip();
  std::optional<Expression> exponent;
  std::optional<Expression> base;
  while (!failed() && (At(Kind::kCaret) || At(Kind::kUnder))) {
    const bool above = At(Kind::kCaret);
    lexer_.Skip();
    (above ? exponent : base) = above ? ParseExponent() : ParseArgument();
  }
  if (base.has_value() && name != "log") return Fail("a subscript behind a function");
  const bool trigonometric = IsTrigonometric(name);
  trigonometric_ += trigonometric;
  std::vector<Expression> args;
  if (At(Kind::kOpen) && Peek().text.size() < 6 && Peek().text != "floor" && Peek().text != "ceil" &&
      Peek().text != "abs" && Peek().text != "norm") {
    args = ParseArguments();
  } else {
    Context context = context_;
    context.in_function = true;
    const Enter enter(this, context);
    args.push_back(Scalar(ParseProduct()));
  }
  trigonometric_ -= trigonometric;
  if (failed()) return {};
  const bool inverse = exponent == NumberNode("-1") && HasInverse(name);
  Expression value = Apply(inverse ? "arc" + name : name, std::move(args), base ? &*base : nullptr);
  if (!exponent.has_value() || inverse) return value;
  return Node(Tree::kPower, "", std::move(value), *std::move(exponent));
}

// The node of a function; without `args`, they are read here.
Expression LatexParser::Apply(std::string_view name, std::vector<Expression> args, const Expression* base) {
  if (args.empty()) {
    if (At(Kind::kOpen)) {
      args = ParseArguments();
    } else {
      args.push_back(ParseImplicit());
    }
  }
  if (failed()) return {};
  const bool several = name == "gcd" || name == "lcm" || name == "max" || name == "min" || name == "P" ||
                       name == "binomial" || name == "log";
  if (args.size() != 1 && !several) return Fail("more than one argument of " + std::string(name));
  if ((name == "binomial") != (args.size() == 2) && !several) return Fail("two arguments are due");
  if (name == "binomial" && args.size() != 2) return Fail("binomial has two arguments");
  if (name == "max" || name == "min" || name == "gcd" || name == "lcm") {
    if (args.size() == 1 && (args[0].kind == Tree::kSet || args[0].kind == Tree::kList) &&
        !args[0].args.empty()) {
      args = std::vector<Expression>(std::move(args[0].args));
    }
  }
  Expression value{Tree::kFunction, std::string(name), {}};
  if (name == "ln") value.name = "log";
  if (name == "log" || name == "lg" || name == "lb") {
    value.name = "log";
    if (args.size() > 2 || (args.size() == 2 && base != nullptr)) return Fail("log has one argument");
    if (args.size() == 2) std::swap(args[0], args[1]);  // log(x, base)
    if (args.size() == 1)
      value.args.push_back(base != nullptr ? *base : NumberNode(name == "lb" ? "2" : "10"));
  }
  std::move(args.begin(), args.end(), std::back_inserter(value.args));
  return value;
}

// (a, b), {a}, \{a, b\}, [a]
std::vector<Expression> LatexParser::ParseArguments() {
  const std::string open(Peek().text);
  lexer_.Skip();
  std::vector<Expression> args;
  {
    const Enter enter(this, Context{.group_digits = open == "group"});
    args = ParseItems().all;
  }
  if (!Take(Kind::kClose, open)) Fail("a function's bracket is not closed");
  return args;
}

// Whether `function` and the bracket here are a function's value: nothing but symbols and numbers in it, and
// not the function itself.
bool LatexParser::IsApplication(const Expression& function) {
  if (IsAlwaysFunction(function.name)) return true;
  const size_t last = Peek().begin;
  LatexLexer ahead = lexer_;
  if (function.name.size() == 1) {  // the last letter of a product in one word: ab(c)
    const std::string_view text = lexer_.text().substr(0, last);
    const std::string_view before = text.substr(0, text.rfind(function.name[0]));
    if (!before.empty() && absl::ascii_isalpha(before.back())) {
      const size_t slash = before.find_last_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
      if (slash == before.npos || before[slash] != '\\') return false;
    }
  }
  ahead.group_digits = false;
  ahead.Skip();
  while (true) {
    const Kind kind = ahead.Peek().kind;
    if (kind != Kind::kNumber && kind != Kind::kWord && kind != Kind::kSymbol) return false;
    if (kind == Kind::kWord && ahead.Peek().text.size() > 1) return false;
    if (ahead.Peek().text == function.name) return false;
    ahead.Skip();
    if (ahead.Peek().kind == Kind::kUnder) {
      ahead.Skip();
      if (ahead.Peek().kind == Kind::kOpen) {
        ahead.Raw();
      } else {
        ahead.Narrow();
        ahead.Skip();
      }
    }
    if (ahead.Peek().kind == Kind::kClose) return ahead.Peek().text == "(";
    if (ahead.Peek().kind != Kind::kComma) return false;
    ahead.Skip();
  }
}

// f(x), f^2(x), f^{-1}(x)
Expression LatexParser::ParseApplication(Expression function, bool powered) {
  std::string name = powered ? function.args[0].name : function.name;
  const bool inverse = powered && function.args[1] == NumberNode("-1");
  if (inverse) name += "^-1";
  if (name == "Gamma") name = "gamma";
  Expression value = Nested({Tree::kFunction, name, ParseArguments()});
  if (!powered || inverse) return value;
  return Node(Tree::kPower, "", std::move(value), std::move(function.args[1]));
}

Expression LatexParser::ParseBig() {
  const std::string name(Peek().text);
  lexer_.Skip();
  if (name == "limit") return ParseLimit();
  if (name == "sum" || name == "product") return ParseSeries(name);
  return ParseIntegral(name == "iiint" ? 3 : name == "iint" ? 2 : 1);
}

// What stands above or below a sum or an integral; none: it is empty.
std::optional<Expression> LatexParser::ParseBound() {
  if (!At(Kind::kOpen, "group")) {
    bool negative = false;
    for (; At(Kind::kMinus) || At(Kind::kPlus); lexer_.Skip()) negative = negative != At(Kind::kMinus);
    if (At(Kind::kWord)) lexer_.Narrow();
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

Expression LatexParser::ParseSeries(std::string_view name) {
  std::optional<Expression> condition, high;
  int index_i = 0;
  while (!failed() && (At(Kind::kUnder) || At(Kind::kCaret))) {
    const bool below = At(Kind::kUnder);
    lexer_.Skip();
    if (below && At(Kind::kOpen, "group")) {
      LatexLexer ahead = lexer_;
      index_i = NamesI(ahead.Raw());
    } else if (below) {
      index_i = At(Kind::kWord) && Peek().text[0] == 'i';
    }
    if (below) index_i_ += index_i;
    (below ? condition : high) = ParseBound();
    if (below) index_i_ -= index_i;
  }
  index_i_ += index_i;
  Expression body;
  {
    Context context = context_;
    context.in_function = false;
    const Enter enter(this, context);
    body = Scalar(ParseProduct());
  }
  index_i_ -= index_i;
  if (failed()) return {};
  if (!condition.has_value()) return Fail("a sum or a product without an index");
  const bool from = condition->kind == Tree::kRelation && condition->name == "=" &&
                    condition->args[0].kind == Tree::kSymbol;
  if (!from || !high.has_value()) {
    if (high.has_value()) return Fail("a sum to somewhere, but from nowhere");
    return Node(Tree::kFunction, name, std::move(body), *std::move(condition));
  }
  return Node(Tree::kFunction, name, std::move(body), std::move(condition->args[0]),
              std::move(condition->args[1]), *std::move(high));
}

Expression LatexParser::ParseIntegral(int variables) {
  std::optional<Expression> low, high;
  while (!failed() && (At(Kind::kUnder) || At(Kind::kCaret))) {
    const bool below = At(Kind::kUnder);
    lexer_.Skip();
    (below ? low : high) = ParseBound();
  }
  Integral integral;
  Integral* const outside = std::exchange(integral_, &integral);
  Expression body;
  {
    Context context = context_;
    context.in_function = false;
    const Enter enter(this, context);
    body = Scalar(ParseSum());
  }
  if (!failed() && !integral.variable.has_value()) Fail("an integral without its dx");
  for (int more = 1; more <= variables && !failed(); ++more) {
    const bool last = more == variables;
    body = Node(Tree::kFunction, "integral", std::move(body), *std::move(integral.variable));
    if (last && low.has_value() && high.has_value()) {
      body.args.push_back(*std::move(low));
      body.args.push_back(*std::move(high));
    } else if (last && (low.has_value() || high.has_value())) {
      body.args.push_back(low.has_value() ? *std::move(low) : *std::move(high));
    }
    integral.variable.reset();
    if (!last) {
      const bool d = At(Kind::kPartial) || (At(Kind::kWord) && Peek().text[0] == 'd');
      if (d && At(Kind::kWord) && Peek().text.size() > 1) lexer_.Split();
      if (d) lexer_.Skip();
      if (!d || !TakeDifferential()) Fail("a double integral without its second variable");
    }
  }
  integral_ = outside;
  return failed() ? Expression{} : body;
}

Expression LatexParser::ParseLimit() {
  if (!Take(Kind::kUnder) || !At(Kind::kOpen, "group")) return Fail("a limit without _{x \\to ..}");
  lexer_.Skip();
  Expression variable, point;
  std::string side;
  {
    const Enter enter(this, Context{});
    variable = ParsePostfix();
    if (!Take(Kind::kArrow) && !Take(Kind::kRelation, "implies")) return Fail("a limit without \\to");
    std::string* const outside = std::exchange(side_, &side);
    point = ParseSum();
    side_ = outside;
  }
  if (!Take(Kind::kClose, "group")) return Fail("{ is not closed");
  Expression body;
  {
    Context context = context_;
    context.in_function = false;
    const Enter enter(this, context);
    body = Scalar(ParseProduct());
  }
  Expression limit = Node(Tree::kFunction, "limit", std::move(body), std::move(variable), std::move(point));
  if (!side.empty()) limit.args.push_back({Tree::kText, side, {}});
  return limit;
}

// At a \frac: \frac{d}{dx} f, \frac{dy}{dx}, \frac{d^2y}{dx^2}, the same with \partial. False: none of them.
bool LatexParser::ParseDerivative(Expression* result) {
  LatexLexer ahead = lexer_;
  ahead.Skip();
  if (ahead.Peek().kind != Kind::kOpen || ahead.Peek().text != "group") return false;
  std::string_view over = BehindD(ahead.Raw());
  if (over.data() == nullptr || ahead.Peek().kind != Kind::kOpen || ahead.Peek().text != "group")
    return false;
  std::string_view under = BehindD(ahead.Raw());
  const int order = TakeOrder(&over);
  if (under.empty() || order == 0) return false;
  LatexLexer variable(under);
  variable.Narrow();
  const Kind kind = variable.Peek().kind;
  if (kind != Kind::kWord && kind != Kind::kSymbol) return false;
  Expression of = Node(Tree::kSymbol, variable.Peek().text);
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
    if (!failed() && !At(Kind::kEnd)) Fail("nothing that can stand in a derivative");
    if (!failed()) lexer_ = ahead;
  }
  *result =
      Node(Tree::kFunction, "derivative", std::move(body), std::move(of), NumberNode(absl::StrCat(order)));
  return true;
}

}  // namespace temper
