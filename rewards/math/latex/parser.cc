// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/latex/parser.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace temper::math {

LatexParser::LatexParser(std::string_view text, unsigned flips, const LatexOptions& options)
    : lexer_(text),
      flips_(flips),
      letters_are_units_(options.letters_are_units),
      known_words_(options.known_words) {
  lexer_.exponents = letters_are_units_;
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
  if (!failed() && !At(TokenKind::kEnd)) Fail("nothing that can stand here");
  return tree;
}

Expression LatexParser::Fail(std::string_view what) {
  if (error_.empty()) {
    const bool lexical = At(TokenKind::kError);
    error_ = std::string(lexical ? Peek().text : what);
    error_at_ = Peek().begin;
    lexer_ = LatexLexer(lexer_.text().substr(0, 0));
  }
  return {};
}

bool LatexParser::Take(TokenKind kind) {
  if (!At(kind)) return false;
  lexer_.Skip();
  return true;
}

bool LatexParser::Take(TokenKind kind, std::string_view text) {
  if (!At(kind, text)) return false;
  lexer_.Skip();
  return true;
}

TokenKind LatexParser::PeekSecond() {
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

Expression NumberNode(std::string_view digits) { return {Kind::kNumber, std::string(digits), {}}; }

Expression Product(std::vector<Expression> factors) {
  if (factors.size() == 1) return std::move(factors[0]);
  Expression product{Kind::kMultiply, "", {}};
  for (Expression& factor : factors) {
    if (factor.kind == Kind::kMultiply) {
      std::ranges::move(factor.args, std::back_inserter(product.args));
    } else {
      product.args.push_back(ScalarOf(std::move(factor)));
    }
  }
  return product;
}

Expression Negative(Expression value) {
  if (value == NumberNode("1")) return NumberNode("-1");
  std::vector<Expression> factors;
  factors.push_back(NumberNode("-1"));
  factors.push_back(std::move(value));
  return Product(std::move(factors));
}

Expression Inverse(Expression value) {
  return Node(Kind::kPower, "", ScalarOf(std::move(value)), NumberNode("-1"));
}

Expression Quotient(Expression over, Expression under) {
  std::vector<Expression> factors;
  factors.push_back(std::move(over));
  factors.push_back(Inverse(std::move(under)));
  return Product(std::move(factors));
}

Expression ScalarOf(Expression value) {
  if (value.kind == Kind::kSet && value.args.size() == 1) return Expression(std::move(value.args[0]));
  return value;
}

bool IsSetLike(const Expression& value) {
  return IsSet(value) || IsNumberSet(value) || (value.kind == Kind::kFunction && value.name == "set_builder");
}

bool IsNumeric(const Expression& value) {
  return value.kind != Kind::kSymbol && value.kind != Kind::kText &&
         std::ranges::all_of(value.args, IsNumeric);
}

}  // namespace temper::math
