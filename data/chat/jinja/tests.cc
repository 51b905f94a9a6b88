// SPDX-License-Identifier: Apache-2.0
// Jinja's tests (`is ...`).
#include "data/chat/jinja/node.h"

namespace temper::jinja {
namespace {

template <bool (*holds)(const Value&)>
bool Is(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "the test", arguments, {});
  return holds(value);
}

bool IsDefined(const Value& value) { return !value.is_undefined(); }
bool IsUndefined(const Value& value) { return value.is_undefined(); }
bool IsNone(const Value& value) { return value.is_none(); }
bool IsBoolean(const Value& value) { return value.is_bool(); }
bool IsFalse(const Value& value) { return value.is_bool() && !value.AsBool(); }
bool IsTrueItself(const Value& value) { return value.is_bool() && value.AsBool(); }
bool IsInteger(const Value& value) { return value.is_integral() && !value.is_bool(); }
bool IsFloat(const Value& value) { return value.is_float(); }
bool IsNumber(const Value& value) { return value.is_number(); }
bool IsString(const Value& value) { return value.is_string(); }
bool IsMapping(const Value& value) { return value.is_dict(); }
bool IsEscaped(const Value& value) { return value.is_markup(); }
bool IsFilter(const Value& value) {
  return value.is_string() && FindFilter(ToUtf8(value.AsText())) != nullptr;
}
bool IsTest(const Value& value) { return value.is_string() && FindTest(ToUtf8(value.AsText())) != nullptr; }
bool IsSequence(const Value& value) {
  if (value.is_sequence()) return value.AsSequence().has_elements();
  return value.is_undefined() || value.is_string() || value.is_dict();
}

template <bool (*holds)(TextView)>
bool HasCase(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "the test", arguments, {});
  return holds(ToText(runtime, value));
}

template <int remainder>
bool IsRemainder(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "the test", arguments, {});
  return IsEqual(runtime, Calculate(runtime, Operator::kModulo, value, int64_t{2}), int64_t{remainder});
}

bool IsDivisibleBy(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "divisibleby", arguments, {"num"}, 1);
  return IsEqual(runtime, Calculate(runtime, Operator::kModulo, value, bound[0]), int64_t{0});
}

bool IsSameAs(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "sameas", arguments, {"other"}, 1);
  return value.IsSame(bound[0]);
}

bool IsIn(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "in", arguments, {"seq"}, 1);
  return Contains(runtime, bound[0], value);
}

template <Comparison comparison>
bool Compares(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const bool is_order = comparison != Comparison::kEqual && comparison != Comparison::kNotEqual;
  const Bound bound(runtime, is_order ? "lt" : "eq", arguments, {"other"}, 1);
  return Holds(runtime, comparison, value, bound[0]);
}

struct Test {
  std::string_view name;
  TestBody body;
};
constexpr Test kTests[] = {
    {"!=", Compares<Comparison::kNotEqual>},
    {"<", Compares<Comparison::kLess>},
    {"<=", Compares<Comparison::kLessEqual>},
    {"==", Compares<Comparison::kEqual>},
    {">", Compares<Comparison::kGreater>},
    {">=", Compares<Comparison::kGreaterEqual>},
    {"boolean", Is<IsBoolean>},
    {"callable", Is<IsCallable>},
    {"defined", Is<IsDefined>},
    {"divisibleby", IsDivisibleBy},
    {"eq", Compares<Comparison::kEqual>},
    {"equalto", Compares<Comparison::kEqual>},
    {"escaped", Is<IsEscaped>},
    {"even", IsRemainder<0>},
    {"false", Is<IsFalse>},
    {"filter", Is<IsFilter>},
    {"float", Is<IsFloat>},
    {"ge", Compares<Comparison::kGreaterEqual>},
    {"greaterthan", Compares<Comparison::kGreater>},
    {"gt", Compares<Comparison::kGreater>},
    {"in", IsIn},
    {"integer", Is<IsInteger>},
    {"iterable", Is<IsIterable>},
    {"le", Compares<Comparison::kLessEqual>},
    {"lessthan", Compares<Comparison::kLess>},
    {"lower", HasCase<IsLowerText>},
    {"lt", Compares<Comparison::kLess>},
    {"mapping", Is<IsMapping>},
    {"ne", Compares<Comparison::kNotEqual>},
    {"none", Is<IsNone>},
    {"number", Is<IsNumber>},
    {"odd", IsRemainder<1>},
    {"sameas", IsSameAs},
    {"sequence", Is<IsSequence>},
    {"string", Is<IsString>},
    {"test", Is<IsTest>},
    {"true", Is<IsTrueItself>},
    {"undefined", Is<IsUndefined>},
    {"upper", HasCase<IsUpperText>},
};

}  // namespace

TestBody FindTest(std::string_view name) {
  for (const Test& test : kTests) {
    if (test.name == name) return test.body;
  }
  return nullptr;
}

}  // namespace temper::jinja
