// SPDX-License-Identifier: Apache-2.0
#include "data/chat/jinja/expression_parser.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/one_of.h"
#include "core/text.h"

namespace temper::jinja {
namespace {

using Kind = Expression::Kind;
constexpr int kMaxDepth = 300;  // of rules in each other; parentheses take three

std::string Describe(const Token& token) {
  switch (token.type) {
    case Token::Type::kName:
    case Token::Type::kOperator:
      return Printable(token.word, 60);
    case Token::Type::kString:
      return "a text";
    case Token::Type::kInteger:
    case Token::Type::kFloat:
      return "a number";
    case Token::Type::kBlockEnd:
      return "%}";
    case Token::Type::kOutputEnd:
      return "}}";
    default:
      return "the end of the template";
  }
}

}  // namespace

void ExpressionParser::Fail(const std::string& what, int line) {
  if (failed()) return;
  status_ = absl::InvalidArgumentError(absl::StrCat(name_, ":", line > 0 ? line : Peek().line, ": ", what));
  at_ = tokens_.size() - 1;
}

bool ExpressionParser::Enter() {
  if (++depth_ > kMaxDepth) Fail("the template is nested too deep");
  return !failed();
}

Token& ExpressionParser::Next() {
  Token& token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool ExpressionParser::Skip(std::string_view sign) {
  if (!Peek().Is(sign)) return false;
  Next();
  return true;
}

bool ExpressionParser::SkipName(std::string_view name) {
  if (!Peek().IsName(name)) return false;
  Next();
  return true;
}

void ExpressionParser::Expect(Token::Type type, const char* what) {
  if (Peek().type != type) return Fail(absl::StrCat("expected ", what, ", here is ", Describe(Peek())));
  Next();
}

void ExpressionParser::ExpectSign(std::string_view sign) {
  if (!Skip(sign)) Fail(absl::StrCat("expected ", std::string(sign), ", here is ", Describe(Peek())));
}

std::string ExpressionParser::ExpectName(const char* what) {
  if (Peek().type == Token::Type::kName) return Next().word;
  Fail(absl::StrCat("expected ", what, ", here is ", Describe(Peek())));
  return "";
}

void ExpressionParser::FailIfUnknown() {
  if (unknown_.empty()) return;
  Fail(absl::StrCat("temper knows no ", Printable(unknown_[0].first, 60)), unknown_[0].second);
}

std::unique_ptr<Expression> ExpressionParser::Make(Kind kind, int line) {
  auto made = std::make_unique<Expression>();
  made->kind = kind;
  made->line = line;
  return made;
}

template <class... P>
std::unique_ptr<Expression> ExpressionParser::Make(Kind kind, int line, P... parts) {
  auto made = Make(kind, line);
  (Add(*made, std::move(parts)), ...);
  return made;
}

void ExpressionParser::Add(Expression& to, ExpressionPtr part) {
  if (part != nullptr) {
    to.height = std::max(to.height, part->height + 1);
    if (to.height > kMaxHeight) Fail("an expression is nested too deep", to.line);
  }
  to.parts.push_back(std::move(part));
}

void ExpressionParser::AddArguments(Expression& to, CallArguments arguments) {
  const auto look_at = [&](const ExpressionPtr& part) {
    if (part != nullptr) to.height = std::max(to.height, part->height + 1);
  };
  for (const ExpressionPtr& value : arguments.values) look_at(value);
  for (const auto& [name, value] : arguments.named) look_at(value);
  look_at(arguments.star);
  look_at(arguments.star_star);
  if (to.height > kMaxHeight) Fail("an expression is nested too deep", to.line);
  to.arguments = std::move(arguments);
}

bool ExpressionParser::IsTupleEnd() const {
  const Token& token = Peek();
  return IsOneOf(token.type, {Token::Type::kBlockEnd, Token::Type::kOutputEnd, Token::Type::kEnd}) ||
         token.Is(")");
}

ExpressionPtr ExpressionParser::TupleOf(bool simplified, bool with_attributes, bool with_condition,
                                        bool in_parentheses) {
  const int line = Peek().line;
  std::vector<ExpressionPtr> parts;
  bool is_tuple = false;
  while (!failed()) {
    if (!parts.empty()) ExpectSign(",");
    if (IsTupleEnd()) break;
    parts.push_back(simplified ? Primary(with_attributes) : with_condition ? Conditional() : Or());
    if (!Peek().Is(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !parts.empty()) return std::move(parts[0]);
  if (!is_tuple && !in_parentheses) Fail(absl::StrCat("expected an expression, here is ", Describe(Peek())));
  auto tuple = Make(Kind::kTuple, line);
  for (ExpressionPtr& part : parts) Add(*tuple, std::move(part));
  return tuple;
}

ExpressionPtr ExpressionParser::Tuple(bool with_condition) {
  return TupleOf(false, false, with_condition, false);
}

bool ExpressionParser::CanAssign(const Expression& target) const {
  if (target.kind == Kind::kTuple) {
    return std::ranges::all_of(target.parts, [&](const ExpressionPtr& part) { return CanAssign(*part); });
  }
  return target.kind == Kind::kName || target.kind == Kind::kAttribute;
}

ExpressionPtr ExpressionParser::Target(bool with_attributes) {
  const int line = Peek().line;
  ExpressionPtr target = TupleOf(true, with_attributes, false, false);
  if (!failed() && !CanAssign(*target)) Fail("a value is assigned to what is no name", line);
  return target;
}

ExpressionPtr ExpressionParser::Conditional() {
  const int line = Peek().line;
  if (!Enter()) return Make(Kind::kConstant, line);
  const size_t unknown = unknown_.size();
  ExpressionPtr value = Or();
  while (SkipName("if")) {
    ExpressionPtr condition = Or(), otherwise = SkipName("else") ? Conditional() : nullptr;
    value = Make(Kind::kConditional, line, std::move(value), std::move(condition), std::move(otherwise));
    unknown_.resize(unknown);
  }
  Leave();
  return value;
}

ExpressionPtr ExpressionParser::Joined(Kind kind, const char* word, Rule operand) {
  const int line = Peek().line;
  ExpressionPtr value = (this->*operand)();
  while (SkipName(word)) value = Make(kind, line, std::move(value), (this->*operand)());
  return value;
}

ExpressionPtr ExpressionParser::Or() { return Joined(Kind::kOr, "or", &ExpressionParser::And); }

ExpressionPtr ExpressionParser::And() { return Joined(Kind::kAnd, "and", &ExpressionParser::Not); }

ExpressionPtr ExpressionParser::Not() {
  const int line = Peek().line;
  if (!Enter()) return Make(Kind::kConstant, line);
  ExpressionPtr value = SkipName("not") ? Make(Kind::kNot, line, Not()) : Compare();
  Leave();
  return value;
}

bool ExpressionParser::IsComparison(Comparison* comparison) {
  static constexpr std::pair<const char*, Comparison> kSigns[] = {
      {"==", Comparison::kEqual},     {"!=", Comparison::kNotEqual}, {"<", Comparison::kLess},
      {"<=", Comparison::kLessEqual}, {">", Comparison::kGreater},   {">=", Comparison::kGreaterEqual}};
  for (const auto& [sign, meaning] : kSigns) {
    *comparison = meaning;
    if (Skip(sign)) return true;
  }
  *comparison = Comparison::kIn;
  if (SkipName("in")) return true;
  *comparison = Comparison::kNotIn;
  if (!Peek().IsName("not") || !Peek(1).IsName("in")) return false;
  Next();
  Next();
  return true;
}

ExpressionPtr ExpressionParser::Compare() {
  const int line = Peek().line;
  ExpressionPtr value = Sum();
  std::unique_ptr<Expression> compare;
  for (Comparison comparison; IsComparison(&comparison);) {
    if (compare == nullptr) compare = Make(Kind::kCompare, line, std::move(value));
    compare->comparisons.push_back(comparison);
    Add(*compare, Sum());
  }
  if (compare != nullptr) return compare;
  return value;
}

ExpressionPtr ExpressionParser::Binary(Rule operand,
                                       std::initializer_list<std::pair<const char*, Operator>> operators) {
  const int line = Peek().line;
  ExpressionPtr value = (this->*operand)();
  while (!failed()) {
    const auto op = std::ranges::find_if(operators, [&](const auto& each) { return Peek().Is(each.first); });
    if (op == operators.end()) break;
    Next();
    auto binary = Make(Kind::kCalculate, line, std::move(value), (this->*operand)());
    binary->op = op->second;
    value = std::move(binary);
  }
  return value;
}

ExpressionPtr ExpressionParser::Sum() {
  return Binary(&ExpressionParser::Concatenation, {{"+", Operator::kAdd}, {"-", Operator::kSubtract}});
}

ExpressionPtr ExpressionParser::Concatenation() {
  const int line = Peek().line;
  ExpressionPtr value = Product();
  if (!Peek().Is("~")) return value;
  auto concatenation = Make(Kind::kConcatenate, line, std::move(value));
  while (Skip("~")) Add(*concatenation, Product());
  return concatenation;
}

ExpressionPtr ExpressionParser::Product() {
  return Binary(&ExpressionParser::Power, {{"*", Operator::kMultiply},
                                           {"/", Operator::kDivide},
                                           {"//", Operator::kFloorDivide},
                                           {"%", Operator::kModulo}});
}

ExpressionPtr ExpressionParser::Power() {
  return Binary(&ExpressionParser::UnaryWithFilters, {{"**", Operator::kPower}});
}

ExpressionPtr ExpressionParser::Unary(bool with_filters) {
  const int line = Peek().line;
  if (!Enter()) return Make(Kind::kConstant, line);
  ExpressionPtr value = Skip("-")   ? Make(Kind::kNegate, line, Unary(false))
                        : Skip("+") ? Make(Kind::kPlus, line, Unary(false))
                                    : Primary();
  value = Postfix(std::move(value));
  while (with_filters && !failed()) {
    if (Peek().Is("|")) {
      value = Filters(std::move(value));
    } else if (Peek().IsName("is")) {
      value = Test(std::move(value));
    } else if (Peek().Is("(")) {
      value = Call(std::move(value));
    } else {
      break;
    }
  }
  Leave();
  return value;
}

ExpressionPtr ExpressionParser::Primary(bool with_attributes) {
  const int line = Peek().line;
  if (Peek().type != Token::Type::kName) return Literal();
  const std::string name = Next().word;
  auto value = Make(Kind::kConstant, line);
  if (IsOneOf(name, {"true", "True", "false", "False"})) {
    value->constant = name == "true" || name == "True";
  } else if (name == "none" || name == "None") {
    value->constant = None();
  } else {
    value->kind = Kind::kName;
    value->name = name;
    if (with_attributes && Skip(".")) {
      auto attribute = Make(Kind::kAttribute, line, ExpressionPtr(std::move(value)));
      attribute->name = ExpectName("an attribute");
      return attribute;
    }
    names_read_.push_back(name);
  }
  return value;
}

ExpressionPtr ExpressionParser::Literal() {
  const int line = Peek().line;
  auto value = Make(Kind::kConstant, line);
  if (Peek().type == Token::Type::kString) {
    Text text;
    while (Peek().type == Token::Type::kString) text += Next().text;
    value->constant = Value(std::move(text));
  } else if (Peek().type == Token::Type::kInteger) {
    value->constant = Next().integer;
  } else if (Peek().type == Token::Type::kFloat) {
    value->constant = Next().number;
  } else if (Skip("(")) {
    ExpressionPtr inner = TupleOf(false, false, true, true);
    ExpectSign(")");
    return inner;
  } else if (Peek().Is("[")) {
    return ListLiteral();
  } else if (Peek().Is("{")) {
    return DictLiteral();
  } else {
    Fail(absl::StrCat("expected an expression, here is ", Describe(Peek())));
  }
  return value;
}

ExpressionPtr ExpressionParser::ListLiteral() {
  auto list = Make(Kind::kList, Next().line);
  while (!failed() && !Peek().Is("]")) {
    if (!list->parts.empty()) ExpectSign(",");
    if (!Peek().Is("]")) Add(*list, Conditional());
  }
  ExpectSign("]");
  return list;
}

ExpressionPtr ExpressionParser::DictLiteral() {
  auto dict = Make(Kind::kDict, Next().line);
  while (!failed() && !Peek().Is("}")) {
    if (!dict->parts.empty()) ExpectSign(",");
    if (Peek().Is("}")) break;
    Add(*dict, Conditional());
    ExpectSign(":");
    Add(*dict, Conditional());
  }
  ExpectSign("}");
  return dict;
}

ExpressionPtr ExpressionParser::Postfix(ExpressionPtr value) {
  while (!failed()) {
    if (Peek().Is(".") || Peek().Is("[")) {
      value = Subscript(std::move(value));
    } else if (Peek().Is("(")) {
      value = Call(std::move(value));
    } else {
      break;
    }
  }
  return value;
}

ExpressionPtr ExpressionParser::Subscript(ExpressionPtr value) {
  const int line = Peek().line;
  if (Skip(".")) {
    if (Peek().type == Token::Type::kInteger) {
      auto index = Make(Kind::kConstant, line);
      index->constant = Next().integer;
      return Make(Kind::kItem, line, std::move(value), ExpressionPtr(std::move(index)));
    }
    auto attribute = Make(Kind::kAttribute, line, std::move(value));
    attribute->name = ExpectName("a name or number after the dot");
    attribute->text = FromUtf8(attribute->name);
    return attribute;
  }
  ExpectSign("[");
  if (Skip("]")) {  // to Jinja the item of an empty tuple
    return Make(Kind::kItem, line, std::move(value), ExpressionPtr(Make(Kind::kTuple, line)));
  }
  ExpressionPtr first = Peek().Is(":") ? nullptr : Conditional();
  if (!Skip(":")) {
    if (Peek().Is(",")) {  // a[b, c]: the item of a tuple
      auto tuple = Make(Kind::kTuple, line, std::move(first));
      while (!failed() && Skip(",")) Add(*tuple, Conditional());
      first = std::move(tuple);
    }
    ExpectSign("]");
    return Make(Kind::kItem, line, std::move(value), std::move(first));
  }
  const auto bound = [&] { return Peek().Is(":") || Peek().Is("]") ? nullptr : Conditional(); };
  ExpressionPtr stop = bound(), step = Skip(":") ? bound() : nullptr;
  ExpectSign("]");
  return Make(Kind::kSlice, line, std::move(value), std::move(first), std::move(stop), std::move(step));
}

CallArguments ExpressionParser::Arguments() {
  CallArguments arguments;
  ExpectSign("(");
  for (bool is_first = true; !failed() && !Peek().Is(")"); is_first = false) {
    if (!is_first) ExpectSign(",");
    if (Peek().Is(")")) break;
    const bool has_star = arguments.star != nullptr || arguments.star_star != nullptr;
    if (Skip("*")) {
      if (has_star) Fail("a call has a * after a * or **");
      arguments.star = Conditional();
    } else if (Skip("**")) {
      if (arguments.star_star != nullptr) Fail("a call has ** twice");
      arguments.star_star = Conditional();
    } else if (Peek().type == Token::Type::kName && Peek(1).Is("=")) {
      if (arguments.star_star != nullptr) Fail("a call has an argument after **");
      std::string name = Next().word;
      Next();
      arguments.named.emplace_back(std::move(name), Conditional());
    } else {
      if (has_star || !arguments.named.empty())
        Fail("a call has an argument without a name after one with a name");
      arguments.values.push_back(Conditional());
    }
  }
  ExpectSign(")");
  return arguments;
}

ExpressionPtr ExpressionParser::Call(ExpressionPtr callee) {
  auto call = Make(Kind::kCall, Peek().line, std::move(callee));
  AddArguments(*call, Arguments());
  return call;
}

ExpressionPtr ExpressionParser::Filters(ExpressionPtr value, bool starts_with_pipe) {
  while (!failed() && (!starts_with_pipe || Skip("|"))) {
    starts_with_pipe = true;
    auto filter = Make(Kind::kFilter, Peek().line, std::move(value));
    filter->name = ExpectName("a filter's name");
    while (Skip(".")) absl::StrAppend(&filter->name, ".", ExpectName("a filter's name"));
    filter->filter = FindFilter(filter->name);
    if (filter->filter == nullptr && !is_guarded_)
      unknown_.emplace_back("filter " + filter->name, filter->line);
    if (Peek().Is("(")) AddArguments(*filter, Arguments());
    value = std::move(filter);
  }
  return value;
}

ExpressionPtr ExpressionParser::Test(ExpressionPtr value) {
  const int line = Next().line;
  const bool is_negated = SkipName("not");
  auto test = Make(Kind::kTest, line, std::move(value));
  test->name = ExpectName("a test's name");
  while (Skip(".")) absl::StrAppend(&test->name, ".", ExpectName("a test's name"));
  test->test = FindTest(test->name);
  if (test->test == nullptr && !is_guarded_) unknown_.emplace_back("test " + test->name, line);
  const Token& token = Peek();
  const bool is_value =
      IsOneOf(token.type, {Token::Type::kString, Token::Type::kInteger, Token::Type::kFloat}) ||
      token.Is("[") || token.Is("{") ||
      (token.type == Token::Type::kName && !token.IsName("else") && !token.IsName("or") &&
       !token.IsName("and"));
  if (token.Is("(")) {
    AddArguments(*test, Arguments());
  } else if (is_value) {
    if (token.IsName("is")) Fail("two tests follow each other; put parentheses around the first");
    CallArguments arguments;
    arguments.values.push_back(Postfix(Primary()));
    AddArguments(*test, std::move(arguments));
  }
  if (!is_negated) return test;
  return Make(Kind::kNot, line, ExpressionPtr(std::move(test)));
}

}  // namespace temper::jinja
