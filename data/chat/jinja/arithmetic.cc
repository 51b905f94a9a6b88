// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/one_of.h"
#include "data/chat/jinja/format.h"
#include "data/chat/jinja/operators.h"

namespace temper::jinja {
namespace {

constexpr const char* kSigns[] = {"+", "-", "*", "/", "//", "%", "**"};

Value BadOperands(Runtime& runtime, Operator op, const Value& a, const Value& b) {
  return runtime.Fail(
      absl::StrCat("there is no ", TypeName(a), " ", kSigns[static_cast<int>(op)], " ", TypeName(b)));
}

Value TooLarge(Runtime& runtime) { return runtime.Fail("a whole number is beyond 64 bits"); }

int64_t FloorDivide(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

Value PowerOfInts(Runtime& runtime, int64_t base, int64_t exponent) {
  int64_t power = 1;
  bool overflows = false, squared_overflows = false;
  for (; exponent > 0 && !overflows; exponent >>= 1) {
    if (exponent & 1) overflows = squared_overflows || __builtin_mul_overflow(power, base, &power);
    squared_overflows |= __builtin_mul_overflow(base, base, &base);
  }
  return overflows ? TooLarge(runtime) : Value(power);
}

Value CalculateInts(Runtime& runtime, Operator op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
    case Operator::kAdd:
      return __builtin_add_overflow(a, b, &result) ? TooLarge(runtime) : Value(result);
    case Operator::kSubtract:
      return __builtin_sub_overflow(a, b, &result) ? TooLarge(runtime) : Value(result);
    case Operator::kMultiply:
      return __builtin_mul_overflow(a, b, &result) ? TooLarge(runtime) : Value(result);
    case Operator::kPower:
      return b < 0 ? Value(std::pow(static_cast<double>(a), static_cast<double>(b)))
                   : PowerOfInts(runtime, a, b);
    case Operator::kDivide:
      return static_cast<double>(a) / static_cast<double>(b);
    case Operator::kFloorDivide:
      return a == INT64_MIN && b == -1 ? TooLarge(runtime) : Value(FloorDivide(a, b));
    case Operator::kModulo:
      return b == -1 ? int64_t{0} : a - FloorDivide(a, b) * b;
  }
  return Value();
}

double PythonModulo(double a, double b) {
  const double modulo = std::fmod(a, b);
  if (modulo == 0) return std::copysign(0.0, b);
  return (modulo < 0) != (b < 0) ? modulo + b : modulo;
}

Value CalculateDoubles(Runtime& runtime, Operator op, double a, double b) {
  switch (op) {
    case Operator::kAdd:
      return a + b;
    case Operator::kSubtract:
      return a - b;
    case Operator::kMultiply:
      return a * b;
    case Operator::kDivide:
      return a / b;
    case Operator::kFloorDivide:
      return std::floor((a - PythonModulo(a, b)) / b);
    case Operator::kModulo:
      return PythonModulo(a, b);
    case Operator::kPower:
      if (a < 0 && std::floor(b) != b) return runtime.Fail("the power is a complex number");
      return std::pow(a, b);
  }
  return Value();
}

Value AddTexts(Runtime& runtime, const Value& a, const Value& b) {
  if (!runtime.Room(a.AsText().size() + b.AsText().size())) return Value();
  const bool is_markup = a.is_markup() || b.is_markup();
  const auto part = [&](const Value& value) {
    return is_markup && !value.is_markup() ? EscapeHtml(value.AsText()) : Text(value.AsText());
  };
  return Value(part(a) + part(b), is_markup);
}

Value AddLists(Runtime& runtime, const Sequence& a, const Sequence& b) {
  std::vector<Value> items = a.items;
  items.insert(items.end(), b.items.begin(), b.items.end());
  return MakeList(runtime, std::move(items), a.kind);
}

Value Repeat(Runtime& runtime, const Value& value, int64_t times) {
  times = std::max<int64_t>(times, 0);
  const size_t size = *Size(value);
  size_t total = 0;
  if (__builtin_mul_overflow(size, static_cast<size_t>(times), &total)) total = Runtime::kMaxText + 1;
  if (!runtime.Room(total)) return Value();
  if (value.is_string()) {
    Text text;
    text.reserve(total);
    for (int64_t i = 0; size > 0 && i < times; ++i) text += value.AsText();
    return Value(std::move(text), value.is_markup());
  }
  std::vector<Value> items;
  if (!runtime.Room(16 * total)) return Value();
  for (int64_t i = 0; size > 0 && i < times; ++i) {
    items.insert(items.end(), value.AsSequence().items.begin(), value.AsSequence().items.end());
  }
  return MakeList(runtime, std::move(items), value.AsSequence().kind);
}

bool IsRepeatable(const Value& value) {
  return value.is_string() || (value.is_sequence() && value.AsSequence().kind <= Sequence::Kind::kTuple);
}

}  // namespace

Value Calculate(Runtime& runtime, Operator op, const Value& a, const Value& b) {
  if (runtime.failed()) return Value();
  if (op == Operator::kModulo && a.is_string()) return FormatPercent(runtime, a, b);
  if (a.is_undefined() || b.is_undefined()) return runtime.FailUndefined(a.is_undefined() ? a : b);
  if (a.is_number() && b.is_number()) {
    const bool divides = IsOneOf(op, {Operator::kDivide, Operator::kFloorDivide, Operator::kModulo}) ||
                         (op == Operator::kPower && a.AsDouble() == 0 && b.AsDouble() < 0);
    if (divides && (op == Operator::kPower || b.AsDouble() == 0)) return runtime.Fail("division by zero");
    if (a.is_integral() && b.is_integral()) return CalculateInts(runtime, op, a.AsInt(), b.AsInt());
    return CalculateDoubles(runtime, op, a.AsDouble(), b.AsDouble());
  }
  if (op == Operator::kAdd && a.is_string() && b.is_string()) return AddTexts(runtime, a, b);
  if (op == Operator::kAdd && a.is_sequence() && b.is_sequence() && IsRepeatable(a) &&
      a.AsSequence().kind == b.AsSequence().kind) {
    return AddLists(runtime, a.AsSequence(), b.AsSequence());
  }
  if (op == Operator::kMultiply && IsRepeatable(a) && b.is_integral()) return Repeat(runtime, a, b.AsInt());
  if (op == Operator::kMultiply && IsRepeatable(b) && a.is_integral()) return Repeat(runtime, b, a.AsInt());
  return BadOperands(runtime, op, a, b);
}

Value Negate(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) return runtime.FailUndefined(value);
  if (value.is_float()) return -value.AsDouble();
  if (value.is_integral()) return Calculate(runtime, Operator::kSubtract, int64_t{0}, value.AsInt());
  return runtime.Fail(absl::StrCat("there is no -", TypeName(value)));
}

Value Plus(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) return runtime.FailUndefined(value);
  if (value.is_float()) return value;
  if (value.is_integral()) return value.AsInt();
  return runtime.Fail(absl::StrCat("there is no +", TypeName(value)));
}

}  // namespace temper::jinja
