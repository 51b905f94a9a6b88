// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "data/chat/jinja/lexer.h"
#include "data/chat/jinja/node.h"

namespace temper::jinja {

// Reads expressions off a template's tokens. After an error (the first stays) all that is left is the end, so
// that every loop over tokens comes to one.
class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, const std::string& name)
      : name_(name), tokens_(std::move(tokens)) {}

  const absl::Status& status() const { return status_; }

  // What may be an expression, or several with commas between them (a tuple), until a token that ends them.
  ExpressionPtr Tuple(bool with_condition = true);
  ExpressionPtr Conditional();
  ExpressionPtr Target(bool with_attributes = false);
  // |name(..)|name(..) of `value`, which may be null.
  ExpressionPtr Filters(ExpressionPtr value, bool starts_with_pipe = true);

  const Token& Peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  Token& Next();
  bool Skip(std::string_view sign);
  bool SkipName(std::string_view name);
  void Expect(Token::Type type, const char* what);
  void ExpectSign(std::string_view sign);
  std::string ExpectName(const char* what);
  void Fail(const std::string& what, int line = 0);
  bool failed() const { return !status_.ok(); }

  // As in Jinja, an unknown filter or test is no error of the template where a condition guards it. Sets
  // whether one does, and returns what was.
  bool SetGuarded(bool is_guarded) { return std::exchange(is_guarded_, is_guarded); }
  void FailIfUnknown();
  const std::vector<std::string>& names_read() const { return names_read_; }
  bool Enter();  // one level deeper; false: too deep
  void Leave() { --depth_; }

 private:
  using Rule = ExpressionPtr (ExpressionParser::*)();

  ExpressionPtr Joined(Expression::Kind kind, const char* word, Rule operand);
  ExpressionPtr Or();
  ExpressionPtr And();
  ExpressionPtr Not();
  ExpressionPtr Compare();
  ExpressionPtr Sum();
  ExpressionPtr Concatenation();
  ExpressionPtr Product();
  ExpressionPtr Power();
  ExpressionPtr Unary(bool with_filters);
  ExpressionPtr UnaryWithFilters() { return Unary(true); }
  ExpressionPtr Primary(bool with_attributes = false);
  ExpressionPtr Literal();
  ExpressionPtr ListLiteral();
  ExpressionPtr DictLiteral();
  ExpressionPtr Postfix(ExpressionPtr value);
  ExpressionPtr Subscript(ExpressionPtr value);
  ExpressionPtr Call(ExpressionPtr callee);
  ExpressionPtr Test(ExpressionPtr value);
  CallArguments Arguments();
  ExpressionPtr TupleOf(bool simplified, bool with_attributes, bool with_condition, bool in_parentheses);
  bool IsTupleEnd() const;
  bool IsComparison(Comparison* comparison);
  bool CanAssign(const Expression& target) const;
  ExpressionPtr Binary(Rule operand, std::initializer_list<std::pair<const char*, Operator>> operators);

  std::unique_ptr<Expression> Make(Expression::Kind kind, int line);
  template <class... P>
  std::unique_ptr<Expression> Make(Expression::Kind kind, int line, P... parts);
  void Add(Expression& to, ExpressionPtr part);
  void AddArguments(Expression& to, CallArguments arguments);

  const std::string name_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  bool is_guarded_ = false;
  std::vector<std::pair<std::string, int>> unknown_;  // what and line, of what no condition guards
  absl::Status status_;
  std::vector<std::string> names_read_;
};

}  // namespace temper::jinja
