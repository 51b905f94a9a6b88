// SPDX-License-Identifier: Apache-2.0
// Python's operators and protocols on template values. What Python refuses fails in the runtime; an undefined
// operand does too, but where Jinja's Undefined takes part (truth, equality, iteration, length, printing).
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <vector>

#include "data/chat/jinja/runtime.h"

namespace temper::jinja {

enum class Operator { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower };

std::string TypeName(const Value& value);  // as Python calls it
bool IsTrue(Runtime& runtime, const Value& value);
bool IsEqual(Runtime& runtime, const Value& a, const Value& b);
// What < and > go by; a failure where Python has no order.
std::partial_ordering Order(Runtime& runtime, const Value& a, const Value& b);
bool Contains(Runtime& runtime, const Value& container, const Value& item);
enum class Comparison { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };
bool Holds(Runtime& runtime, Comparison comparison, const Value& a, const Value& b);
Value Calculate(Runtime& runtime, Operator op, const Value& a, const Value& b);
Value Negate(Runtime& runtime, const Value& value);
Value Plus(Runtime& runtime, const Value& value);

Text ToText(Runtime& runtime, const Value& value);  // str()
Text Repr(Runtime& runtime, const Value& value);    // repr()

std::optional<size_t> Size(const Value& value);  // nothing: has none
bool IsIterable(const Value& value);
// The elements, characters or keys. An iterator is used up.
std::vector<Value> Elements(Runtime& runtime, const Value& value);
// The same, as a failure where there are not `count` of them.
std::vector<Value> Unpack(Runtime& runtime, const Value& value, size_t count);

const Value* FindKey(Runtime& runtime, const Dict& dict, const Value& key);

// Jinja's a[b] and a.b: undefined where there is no such thing. Methods are attributes. a[b:c:d] fails there.
Value GetItem(Runtime& runtime, const Value& object, const Value& key);
Value GetAttribute(Runtime& runtime, const Value& object, TextView name);
Value Slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop, const Value& step);
Value Call(Runtime& runtime, const Value& callee, const Arguments& arguments);
// Says that a function is about to look at these texts; false where that is too much. Methods, filters and
// tests are called only behind it.
bool TouchTexts(Runtime& runtime, const Value& value, const Arguments& arguments);
bool IsCallable(const Value& value);

// What an attribute is that templates may not reach.
Value UnsafeAttribute(const Value& object, TextView name);

// Python's methods of str, dict, list and tuple. False: there is none of that name.
bool GetMethod(Runtime& runtime, const Value& object, TextView name, Value* method);

}  // namespace temper::jinja
