// SPDX-License-Identifier: Apache-2.0
// Numbers, letters, fractions, roots, names.
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/one_of.h"
#include "rewards/completion/tags.h"
#include "rewards/math/latex/commands.h"
#include "rewards/math/latex/latex.h"
#include "rewards/math/latex/parser.h"

namespace temper::math {
namespace {

std::string WithoutLeadingZeros(std::string_view digits) {
  const size_t point = std::min(digits.find('.'), digits.size());
  size_t first = 0;
  while (first + 1 < point && digits[first] == '0') ++first;
  return (point == 0 ? "0" : "") + std::string(digits.substr(first));
}

std::string PlainWords(std::string_view text) {
  std::string words;
  for (size_t at = 0; at < text.size(); ++at) {
    const bool escaped = text[at] == '\\' && at + 1 < text.size() && !absl::ascii_isalpha(text[at + 1]);
    if (!escaped) words += IsOneOf(text[at], "~{}") ? ' ' : text[at];
  }
  absl::RemoveExtraAsciiWhitespace(&words);
  return words;
}

// Of a name in braces.
std::string WithoutDress(std::string_view raw) {
  std::string name(raw);
  std::erase_if(name, [](char c) { return absl::ascii_isspace(c) || IsOneOf(c, "\\{}"); });
  return name;
}

}  // namespace

Expression LatexParser::ParseAtom() {
  const Deeper deeper(this);
  switch (Peek().kind) {
    case TokenKind::kNumber:
      return ParseNumber();
    case TokenKind::kWord:
      return ParseLetter();
    case TokenKind::kSymbol:
    case TokenKind::kConstant: {
      const bool symbol = At(TokenKind::kSymbol);
      Expression atom = Node(symbol ? Kind::kSymbol : Kind::kConstant, Peek().text);
      lexer_.Skip();
      return atom;
    }
    case TokenKind::kNumberSet:
      return ParseNumberSet();
    case TokenKind::kEmptySet:
      lexer_.Skip();
      return Node(Kind::kSet, "");
    case TokenKind::kDots:
      lexer_.Skip();
      return Node(Kind::kText, "...");
    case TokenKind::kText:
      return ParseText();
    case TokenKind::kFunction: {
      const std::string name(Peek().text);
      lexer_.Skip();
      return ParseFunction(name);
    }
    case TokenKind::kFraction:
      return ParseFraction();
    case TokenKind::kBinomial: {
      lexer_.Skip();
      if (At(TokenKind::kOpen, "(")) return Apply("binomial", ParseArguments(), nullptr);
      Expression above = ParseArgument();
      Expression below = ParseArgument();
      return Node(Kind::kFunction, "binomial", std::move(above), std::move(below));
    }
    case TokenKind::kRoot:
      return ParseRoot();
    case TokenKind::kRadical: {
      const std::string_view degree = Peek().text;
      lexer_.Skip();
      return ParseRadical(degree);
    }
    case TokenKind::kBig:
      return ParseBig();
    case TokenKind::kPartial:
      lexer_.Skip();
      if (integral_ != nullptr && TakeDifferential()) return NumberNode("1");
      return Node(Kind::kSymbol, "partial");
    case TokenKind::kAccent:
      return ParseAccent();
    case TokenKind::kName:
      return ParseName();
    case TokenKind::kBoxed: {
      lexer_.Skip();
      if (!At(TokenKind::kOpen, "group")) return Fail("\\boxed without braces");
      return ParseArgument();
    }
    case TokenKind::kOpen:
      return ParseBracket();
    case TokenKind::kBar:
      return ParseBars();
    case TokenKind::kBegin:
      return ParseEnvironment();
    case TokenKind::kClose:
      if (Peek().text == "[") return ParseFrench();
      return Fail("a closing bracket where an operand is due");
    case TokenKind::kEnd:
      return Fail("an operand is missing at the end");
    default:
      return Fail("an operand is missing before this");
  }
}

Expression LatexParser::ParseNumber() {
  const LatexToken token = Peek();
  if (token.digits.size() + token.repeating.size() > kMaxLatexDigits) {
    return Fail(absl::StrCat("a number of more than ", kMaxLatexDigits, " digits"));
  }
  Expression number = NumberNode(WithoutLeadingZeros(token.digits));
  if (!token.repeating.empty()) {  // 0.1(6) = 0.1 + 6 / 90
    const size_t point = token.digits.find('.');
    const size_t decimals = point == token.digits.npos ? 0 : token.digits.size() - point - 1;
    const std::string nines = std::string(token.repeating.size(), '9') + std::string(decimals, '0');
    number = Node(Kind::kAdd, "", std::move(number),
                  Quotient(NumberNode(WithoutLeadingZeros(token.repeating)), NumberNode(nines)));
  }
  if (!token.exponent.empty()) {
    const bool negative = token.exponent[0] == '-';
    if (token.exponent.size() > 10) return Fail("an exponent of more than 10 digits");
    Expression exponent = NumberNode(WithoutLeadingZeros(token.exponent.substr(negative ? 1 : 0)));
    if (negative) exponent = Negative(std::move(exponent));
    Expression power = Node(Kind::kPower, "", NumberNode("10"), std::move(exponent));
    number = Node(Kind::kMultiply, "", std::move(number), std::move(power));
  }
  lexer_.Skip();
  return number;
}

// The first letter of the word here: e and i are constants, a d in an integral may begin dx.
Expression LatexParser::ParseLetter() {
  if (Peek().text.size() > 1) lexer_.Split();
  const std::string name(Peek().text);
  lexer_.Skip();
  if (name == "d" && integral_ != nullptr && TakeDifferential()) return NumberNode("1");
  if (name == "e") return {Kind::kConstant, "e", {}};
  if ((name == "i" || name == "I") && index_i_ == 0) return {Kind::kConstant, "i", {}};
  return {Kind::kSymbol, name, {}};
}

// The x of dx, behind the d.
bool LatexParser::TakeDifferential() {
  if (Done() || (!At(TokenKind::kWord) && !At(TokenKind::kSymbol))) return false;
  if (Peek().text.size() > 1 && At(TokenKind::kWord)) lexer_.Split();
  Expression variable = Node(Kind::kSymbol, Peek().text);
  lexer_.Skip();
  if (Take(TokenKind::kUnder)) variable = Subscript(std::move(variable), false);
  integral_->variable = std::move(variable);
  return true;
}

Expression LatexParser::ParseText() {
  std::string words;
  while (At(TokenKind::kText) && (words.empty() || ConjunctionOf(Peek().text) == 0)) {
    absl::StrAppend(&words, words.empty() ? "" : " ", PlainWords(Peek().text));
    lexer_.Skip();
  }
  return {Kind::kText, words, {}};
}

// R of \R, \mathbb{R}, \mathbb R.
Expression LatexParser::ParseNumberSet() {
  std::string name(Peek().text);
  lexer_.Skip();
  if (name.size() > 1) {  // the command: its letter follows
    if (At(TokenKind::kOpen, "group")) {
      name = std::string(Trim(lexer_.Raw()));
    } else if (At(TokenKind::kWord)) {
      lexer_.Narrow();
      name = std::string(Peek().text);
      lexer_.Skip();
    }
    if (name.size() != 1 || !absl::ascii_isalpha(name[0])) return Fail("\\mathbb without a letter");
  }
  const bool known = IsOneOf(name[0], "NZQRC");
  return {known ? Kind::kConstant : Kind::kSymbol, name, {}};
}

// What a command takes: {..}, or one digit, letter or command.
Expression LatexParser::ParseArgument() {
  if (!At(TokenKind::kOpen, "group")) {
    lexer_.Narrow();
    return ParseAtom();
  }
  lexer_.Skip();
  const Enter enter(this, Context{});
  Expression inside = ParseStatement();
  if (!Take(TokenKind::kClose, "group")) return Fail("{ is not closed");
  return inside;
}

// {..} that no command asks for: nothing but a bracket, or a set.
Expression LatexParser::ParseGroup() {
  lexer_.Skip();
  Expression inside;
  {
    const Enter enter(this, Context{.group_digits = false});
    Items items = ParseItems();
    const bool list = items.all.size() > 1 && items.all[0].kind != Kind::kRelation;
    inside = list ? Expression{Kind::kSet, "", std::move(items.all)} : Join(std::move(items));
  }
  if (!Take(TokenKind::kClose, "group")) return Fail("{ is not closed");
  group_end_ = lexer_.position();
  const bool wraps = inside.kind == Kind::kMatrix || inside.kind == Kind::kTuple;
  return wraps ? Node(Kind::kSet, "", std::move(inside)) : inside;
}

Expression LatexParser::ParseFraction() {
  Expression derivative;
  if (ParseDerivative(&derivative)) return derivative;
  lexer_.Skip();
  Expression over = ParseArgument();
  // \frac{dx}{x}: the dx does not end what is below.
  std::optional<Expression> variable;
  if (integral_ != nullptr) variable.swap(integral_->variable);
  Expression under = ParseArgument();
  if (integral_ != nullptr && variable.has_value()) integral_->variable = std::move(variable);
  return Quotient(std::move(over), std::move(under));
}

Expression LatexParser::ParseRoot() {
  lexer_.Skip();
  Expression degree = NumberNode("2");
  if (At(TokenKind::kOpen, "[")) {
    lexer_.Skip();
    const Enter enter(this, Context{});
    degree = ParseSum();
    if (!Take(TokenKind::kClose, "[")) return Fail("[ is not closed");
  } else if (At(TokenKind::kOpen, "(")) {  // \sqrt(2)
    return ParseRadical("2");
  }
  Expression radicand = ParseArgument();
  return Node(Kind::kPower, "", ScalarOf(std::move(radicand)), Inverse(std::move(degree)));
}

// Behind √: a bracket, a number or a letter.
Expression LatexParser::ParseRadical(std::string_view degree) {
  if (At(TokenKind::kWord)) lexer_.Narrow();
  Expression radicand = ParseAtom();
  return Node(Kind::kPower, "", ScalarOf(std::move(radicand)), Inverse(NumberNode(degree)));
}

// \overline{x}, \vec{AB}: a symbol of that name; \overline{2+3i}: a conjugate.
Expression LatexParser::ParseAccent() {
  const std::string accent(Peek().text);
  lexer_.Skip();
  LatexLexer ahead = lexer_;
  std::string name;
  if (At(TokenKind::kOpen, "group")) {
    name = WithoutDress(ahead.Raw());
  } else if (At(TokenKind::kWord) || At(TokenKind::kSymbol)) {
    ahead.Narrow();
    name = std::string(ahead.Peek().text);
    ahead.Skip();
  }
  if (name.empty()) return Fail("an accent over nothing");
  if ((accent == "vec" || accent == "hat") && IsOneOf(name, {"i", "j", "k", "imath", "jmath"})) {
    lexer_ = ahead;  // a unit vector, as \mathbf{i} is
    return name[0] == 'i' ? Node(Kind::kConstant, "i") : Node(Kind::kSymbol, name.substr(0, 1));
  }
  for (const char c : name) {
    if (absl::ascii_isalnum(c) || c == '_' || accent != "bar") continue;
    Expression argument = ParseArgument();
    return Node(Kind::kFunction, "conjugate", std::move(argument));
  }
  lexer_ = ahead;
  return {Kind::kSymbol, absl::StrCat(accent, "{", name, "}"), {}};
}

// \operatorname{foo}, \variable{x_1}
Expression LatexParser::ParseName() {
  const bool function = Peek().text.starts_with("operatorname");
  lexer_.Skip();
  if (!At(TokenKind::kOpen, "group")) return Fail("a name without braces");
  const std::string_view raw = Trim(lexer_.Raw());
  if (const LatexCommand* known = FindCommand(raw);
      function && known != nullptr && known->kind == TokenKind::kFunction) {
    return ParseFunction(std::string(known->text));
  }
  const std::string name = WithoutDress(raw);
  if (name.empty()) return Fail("an empty name");
  if (function && At(TokenKind::kOpen, "(")) return {Kind::kFunction, name, ParseArguments()};
  return {Kind::kSymbol, name, {}};
}

}  // namespace temper::math
