// SPDX-License-Identifier: Apache-2.0
// Jinja's tests (`is ...`).
#include <algorithm>

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

template <bool is_upper>
bool HasCase(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "the test", arguments, {});
  const Text text = ToText(runtime, value);
  const auto is = [](char32_t c) { return is_upper ? IsUpper(c) : IsLower(c); };
  const auto spoils = [](char32_t c) { return IsTitle(c) || (is_upper ? IsLower(c) : IsUpper(c)); };
  return std::any_of(text.begin(), text.end(), is) && std::none_of(text.begin(), text.end(), spoils);
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

template <bool wanted>
bool IsEqualTo(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "eq", arguments, {"other"}, 1);
  return IsEqual(runtime, value, bound[0]) == wanted;
}

enum class Relation { kLess, kLessEqual, kGreater, kGreaterEqual };
template <Relation relation>
bool IsOrdered(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "lt", arguments, {"other"}, 1);
  const std::partial_ordering order = Order(runtime, value, bound[0]);
  switch (relation) {
    case Relation::kLess:
      return order < 0;
    case Relation::kLessEqual:
      return order <= 0;
    case Relation::kGreater:
      return order > 0;
    case Relation::kGreaterEqual:
      return order >= 0;
  }
  return false;
}

struct Test {
  std::string_view name;
  TestBody body;
};
constexpr Test kTests[] = {
    {"!=", IsEqualTo<false>},
    {"<", IsOrdered<Relation::kLess>},
    {"<=", IsOrdered<Relation::kLessEqual>},
    {"==", IsEqualTo<true>},
    {">", IsOrdered<Relation::kGreater>},
    {">=", IsOrdered<Relation::kGreaterEqual>},
    {"boolean", Is<IsBoolean>},
    {"callable", Is<IsCallable>},
    {"defined", Is<IsDefined>},
    {"divisibleby", IsDivisibleBy},
    {"eq", IsEqualTo<true>},
    {"equalto", IsEqualTo<true>},
    {"escaped", Is<IsEscaped>},
    {"even", IsRemainder<0>},
    {"false", Is<IsFalse>},
    {"filter", Is<IsFilter>},
    {"float", Is<IsFloat>},
    {"ge", IsOrdered<Relation::kGreaterEqual>},
    {"greaterthan", IsOrdered<Relation::kGreater>},
    {"gt", IsOrdered<Relation::kGreater>},
    {"in", IsIn},
    {"integer", Is<IsInteger>},
    {"iterable", Is<IsIterable>},
    {"le", IsOrdered<Relation::kLessEqual>},
    {"lessthan", IsOrdered<Relation::kLess>},
    {"lower", HasCase<false>},
    {"lt", IsOrdered<Relation::kLess>},
    {"mapping", Is<IsMapping>},
    {"ne", IsEqualTo<false>},
    {"none", Is<IsNone>},
    {"number", Is<IsNumber>},
    {"odd", IsRemainder<1>},
    {"sameas", IsSameAs},
    {"sequence", Is<IsSequence>},
    {"string", Is<IsString>},
    {"test", Is<IsTest>},
    {"true", Is<IsTrueItself>},
    {"undefined", Is<IsUndefined>},
    {"upper", HasCase<true>},
};

}  // namespace

TestBody FindTest(std::string_view name) {
  for (const Test& test : kTests) {
    if (test.name == name) return test.body;
  }
  return nullptr;
}

}  // namespace temper::jinja
