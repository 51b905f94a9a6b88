// SPDX-License-Identifier: Apache-2.0
// Functions and their arguments.
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "core/one_of.h"
#include "rewards/math/latex/parser.h"

namespace temper::math {
namespace {

bool IsTrigonometric(std::string_view name) {
  return IsOneOf(name, {"sin", "cos", "tan", "cot", "sec", "csc", "cis"});
}

bool HasInverse(std::string_view name) {
  return IsTrigonometric(name.substr(0, 3)) && name != "cis" &&
         (name.size() == 3 || (name.size() == 4 && name[3] == 'h'));
}

// f and its like are never factors.
bool IsAlwaysFunction(std::string_view name) {
  const std::string_view base = name.substr(0, name.find_first_of("_'"));
  return IsOneOf(base, {"f", "g", "F", "G", "P", "Gamma"}) || name.ends_with("'");
}

}  // namespace

// Behind its name.
Expression LatexParser::ParseFunction(const std::string& name) {
  std::optional<Expression> exponent;
  std::optional<Expression> base;
  while (!failed() && (At(TokenKind::kCaret) || At(TokenKind::kUnder))) {
    const bool above = At(TokenKind::kCaret);
    lexer_.Skip();
    (above ? exponent : base) = above ? ParseExponent() : ParseArgument();
  }
  if (base.has_value() && name != "log") return Fail("a subscript behind a function");
  const bool trigonometric = IsTrigonometric(name);
  trigonometric_ += trigonometric;
  std::vector<Expression> args;
  if (At(TokenKind::kOpen) && Peek().text.size() < 6 &&
      !IsOneOf(Peek().text, {"floor", "ceil", "abs", "norm"})) {
    args = ParseArguments();
  } else {
    Context context = context_;
    context.in_function = true;
    const Enter enter(this, context);
    args.push_back(ScalarOf(ParseProduct()));
  }
  trigonometric_ -= trigonometric;
  if (failed()) return {};
  const bool inverse = exponent.has_value() && IsMinusOne(*exponent) && HasInverse(name);
  Expression value = Apply(inverse ? "arc" + name : name, std::move(args), base ? &*base : nullptr);
  if (!exponent.has_value() || inverse) return value;
  return Node(Kind::kPower, "", std::move(value), *std::move(exponent));
}

Expression LatexParser::Apply(std::string_view name, std::vector<Expression> args, const Expression* base) {
  if (failed()) return {};
  const bool several = IsOneOf(name, {"gcd", "lcm", "max", "min", "P", "binomial", "log"});
  if (args.size() != 1 && !several) return Fail("more than one argument of " + std::string(name));
  if (name == "binomial" && args.size() != 2) return Fail("binomial has two arguments");
  if (IsOneOf(name, {"max", "min", "gcd", "lcm"})) {
    if (args.size() == 1 && (args[0].kind == Kind::kSet || args[0].kind == Kind::kList) &&
        !args[0].args.empty()) {
      args = std::vector<Expression>(std::move(args[0].args));
    }
  }
  if (name == "cis") {  // cos x + i sin x
    std::vector<Expression> turn = {{Kind::kConstant, "i", {}}, std::move(args[0])};
    return Node(Kind::kPower, "", Expression{Kind::kConstant, "e", {}}, Product(std::move(turn)));
  }
  Expression value{Kind::kFunction, std::string(name), {}};
  if (name == "ln") value.name = "log";
  if (IsOneOf(name, {"log", "lg", "lb"})) {
    value.name = "log";
    if (args.size() > 2 || (args.size() == 2 && base != nullptr)) return Fail("log has one argument");
    if (args.size() == 2) std::swap(args[0], args[1]);  // log(x, base)
    if (args.size() == 1)
      value.args.push_back(base != nullptr ? *base : NumberNode(name == "lb" ? "2" : "10"));
  }
  std::ranges::move(args, std::back_inserter(value.args));
  return value;
}

// (a, b), {a}, \{a, b\}, [a]
std::vector<Expression> LatexParser::ParseArguments() {
  const std::string open(Peek().text);
  lexer_.Skip();
  std::vector<Expression> args = ParseInside(/*group_digits=*/open == "group");
  if (!Take(TokenKind::kClose, open)) Fail("a function's bracket is not closed");
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
  bool sign = false, several = false;  // E(x, +0), but x(-1) is a product
  while (true) {
    if (ahead.Peek().kind == TokenKind::kPlus || ahead.Peek().kind == TokenKind::kMinus) {
      sign = true;
      ahead.Skip();
    }
    const TokenKind kind = ahead.Peek().kind;
    if (!IsOneOf(kind, {TokenKind::kNumber, TokenKind::kWord, TokenKind::kSymbol})) return false;
    if (kind == TokenKind::kWord && ahead.Peek().text.size() > 1) return false;
    if (ahead.Peek().text == function.name) return false;
    ahead.Skip();
    if (ahead.Peek().kind == TokenKind::kUnder) {
      ahead.Skip();
      if (ahead.Peek().kind == TokenKind::kOpen) {
        ahead.Raw();
      } else {
        ahead.Narrow();
        ahead.Skip();
      }
    }
    if (ahead.Peek().kind == TokenKind::kClose) return ahead.Peek().text == "(" && (several || !sign);
    if (ahead.Peek().kind != TokenKind::kComma) return false;
    several = true;
    ahead.Skip();
  }
}

// f(x), f^2(x), f^{-1}(x)
Expression LatexParser::ParseApplication(Expression function, bool powered) {
  const Deeper deeper(this);
  std::string name = powered ? function.args[0].name : function.name;
  const bool inverse = powered && IsMinusOne(function.args[1]);
  if (inverse) name += "^-1";
  if (name == "Gamma") name = "gamma";
  Expression value = Nested({Kind::kFunction, name, ParseArguments()});
  if (!powered || inverse) return value;
  return Node(Kind::kPower, "", std::move(value), std::move(function.args[1]));
}

}  // namespace temper::math
