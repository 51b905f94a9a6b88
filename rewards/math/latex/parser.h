// SPDX-License-Identifier: Apache-2.0
// What is behind ParseLatex: a recursive descent, one function for each strength of binding. It fails by
// showing itself the end of the text from then on, so that every loop ends.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rewards/math/expression.h"
#include "rewards/math/latex/latex.h"
#include "rewards/math/latex/lexer.h"

namespace temper::math {

class LatexParser {
 public:
  // Bit n of `flips`: whether the n-th bar that may open or close opens.
  LatexParser(std::string_view text, unsigned flips, const LatexOptions& options);

  Expression Parse();

  bool failed() const { return !error_.empty(); }
  const std::string& error() const { return error_; }
  size_t error_at() const { return error_at_; }
  int unclear_bars() const { return static_cast<int>(unclear_bars_.size()); }

 private:
  struct Items {  // a, b; c and d
    std::vector<Expression> all;
    std::vector<char> joins;  // behind each but the last: , ; & (and) | (or)
  };
  struct Integral {
    std::optional<Expression> variable;  // once its dx was read
  };
  // What a bracket hides from what is inside it.
  struct Context {
    bool in_function = false;  // the argument of a function without brackets: ends before the next function
    bool colon = true;         // is a quotient
    int bars = 0;              // | that are open
    bool group_digits = true;
  };
  class Enter;
  class Deeper;

  // lists.cc
  Items ParseItems();
  Expression Join(Items items);
  Expression JoinWords(Items items, bool lists);
  Expression ParseStatement() { return Join(ParseItems()); }
  char TakeSeparators();
  Expression ParseItem();

  // relations.cc: logic, relations, operations on sets.
  Expression ParseLogic(int level);
  Expression ParseRelation();
  bool TakeRelation(std::string* name, bool* reversed);
  Expression ParseModulus(Expression side);
  Expression ParseSet(bool intersection);
  Expression AsSet(Expression operand, bool braces);

  // terms.cc: sums and products.
  Expression ParseSum();
  Expression ParseProduct();
  bool TakeSigns();
  Expression ParseRatio(Expression first);
  Expression ParseSigned();
  Expression ParseImplicit();
  bool StartsFactor();
  bool BarStarts();
  bool ConditionFollows();
  bool FunctionFollows();

  // quantities.cc: mixed numbers, units, words behind a value. True: something was read.
  bool MixedNumber(std::vector<Expression>* factors);
  bool TakeUnits(std::vector<Expression>* factors);
  bool UnitFollows(bool first);
  bool UnitText();
  bool LetterIsUnit();
  bool TakeRemark(const Expression& value);
  bool TakeText(std::vector<Expression>* factors);
  bool KeptBy(const Expression& value, size_t begin, size_t end);
  bool Known(std::string_view word) const;

  // powers.cc: powers, subscripts and what else stands behind an operand.
  Expression ParsePostfix();
  Expression ParseExponent();
  bool TakeSpecialExponent(Expression* base);
  Expression Subscript(Expression base, bool powered);
  std::string SubscriptName();
  Expression Degrees(Expression value);
  Expression Factorial(Expression value);

  // atoms.cc
  Expression ParseAtom();
  Expression ParseNumber();
  Expression ParseLetter();
  bool TakeDifferential();
  Expression ParseText();
  Expression ParseNumberSet();
  Expression ParseArgument();
  Expression ParseGroup();
  Expression ParseFraction();
  Expression ParseRoot();
  Expression ParseRadical(std::string_view degree);
  Expression ParseAccent();
  Expression ParseName();

  // functions.cc
  Expression ParseFunction(const std::string& name);
  Expression Apply(std::string_view name, std::vector<Expression> args, const Expression* base);
  std::vector<Expression> ParseArguments();
  bool IsApplication(const Expression& function);
  Expression ParseApplication(Expression function, bool powered);

  // calculus.cc: what binds a variable.
  Expression ParseBig();
  Expression ParseSeries(std::string_view name);
  Expression ParseBody(bool sum);
  Expression ParseIntegral(int variables);
  Expression ParseLimit();
  std::optional<Expression> ParseBound();
  bool ParseDerivative(Expression* result);

  // brackets.cc: brackets, bars, matrices.
  std::vector<Expression> ParseInside(bool group_digits);
  Expression ParseBracket();
  Expression ParseBraces();
  Expression ParseBars();
  Expression ParseFrench();
  Expression Bracketed(std::string_view open, std::string_view close, std::vector<Expression> items);
  Expression ParseEnvironment();
  Expression Environment(std::string_view name, std::vector<std::vector<Expression>> rows);

  const LatexToken& Peek() { return lexer_.Peek(); }
  bool At(TokenKind kind) { return Peek().kind == kind; }
  bool At(TokenKind kind, std::string_view text) { return Peek().Is(kind, text); }
  bool Take(TokenKind kind);
  bool Take(TokenKind kind, std::string_view text);
  TokenKind PeekSecond();
  // The expression itself, for what a loop puts around it: bounds how deep it gets.
  Expression Nested(Expression expression);
  Expression Fail(std::string_view what);
  bool Done() const { return integral_ != nullptr && integral_->variable.has_value(); }

  LatexLexer lexer_;
  unsigned flips_;
  bool letters_are_units_;
  std::optional<std::string_view> known_words_;
  std::string error_;
  size_t error_at_ = 0;
  int depth_ = 0;
  int nested_ = 0;
  size_t copied_ = 0;
  Context context_;
  int trigonometric_ = 0;      // arguments of sin, cos, .. around
  int index_i_ = 0;            // sums around whose index is i
  bool in_condition_ = false;  // behind the ( of (k \in \mathbb{Z})
  bool french_ = false;        // ]a, b[ are open ends
  size_t group_end_ = 0;       // behind the last {..}
  Integral* integral_ = nullptr;
  std::string* side_ = nullptr;  // where a limit's 0^+ goes
  std::vector<size_t> unclear_bars_;
};

// A bracket's inside.
class LatexParser::Enter {
 public:
  Enter(LatexParser* parser, Context inside) : parser_(parser), outside_(parser->context_) {
    parser->context_ = inside;
    parser->lexer_.group_digits = inside.group_digits;
  }
  ~Enter() {
    parser_->context_ = outside_;
    parser_->lexer_.group_digits = outside_.group_digits;
  }
  Enter(const Enter&) = delete;
  Enter& operator=(const Enter&) = delete;

 private:
  LatexParser* parser_;
  Context outside_;
};

class LatexParser::Deeper {
 public:
  explicit Deeper(LatexParser* parser);
  ~Deeper() { --parser_->depth_; }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;

 private:
  LatexParser* parser_;
};

// Nodes, in the forms that expression.h asks for. A product takes the factors of products in it.
template <class... Args>
Expression Node(Kind kind, std::string_view name, Args&&... args) {
  Expression node{kind, std::string(name), {}};
  node.args.reserve(sizeof...(args));
  (node.args.push_back(std::forward<Args>(args)), ...);
  return node;
}
Expression NumberNode(std::string_view digits);
Expression Product(std::vector<Expression> factors);
Expression Negative(Expression value);
Expression Inverse(Expression value);
Expression Quotient(Expression over, Expression under);
// {x} where a value is needed is x.
Expression ScalarOf(Expression value);
bool IsSetLike(const Expression& value);  // also a set of numbers by its name
bool IsNumeric(const Expression& value);  // no symbol or text in it
// 12:00, 2:15\text{ PM}, 9 a.m.: the whole text is a time of day.
std::optional<Expression> ReadTime(std::string_view text);
// May 5, 5th of May 2020: the whole text is a day, or a month of a year.
std::optional<Expression> ReadDate(std::string_view text);
// 2 hours 30 min: the whole text is two amounts or more, as a function of numbers and units.
std::optional<Expression> ReadAmounts(std::string_view text);
// The empty set, all real numbers, there are no solutions: the whole text.
std::optional<Expression> ReadPhrase(std::string_view text);
// The text in LaTeX's spelling; nothing: it is in it.
std::optional<std::string> OtherSpelling(std::string_view text);
// and, or, `,` where a text joins what stands before and behind it; 0: it does not.
char ConjunctionOf(std::string_view text);

}  // namespace temper::math
