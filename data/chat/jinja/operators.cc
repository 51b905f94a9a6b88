// SPDX-License-Identifier: Apache-2.0
#include "data/chat/jinja/operators.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "data/chat/jinja/format.h"

namespace temper::jinja {
namespace {

bool SameKind(const Sequence& a, const Sequence& b) { return a.kind == b.kind && a.has_size(); }

std::partial_ordering OrderNumbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return a.AsInt() <=> b.AsInt();
  const auto wide = [](const Value& value) {  // 64 bits of mantissa: whole numbers stay exact
    return value.is_float() ? static_cast<long double>(value.AsDouble())
                            : static_cast<long double>(value.AsInt());
  };
  return wide(a) <=> wide(b);
}

bool IsEqualSequence(Runtime& runtime, const Sequence& a, const Sequence& b) {
  if (!SameKind(a, b) || a.items.size() != b.items.size()) return false;
  for (size_t i = 0; i < a.items.size(); ++i) {
    if (!IsEqual(runtime, a.items[i], b.items[i])) return false;
  }
  return true;
}

bool IsEqualDict(Runtime& runtime, const Dict& a, const Dict& b) {
  if (a.items.size() != b.items.size()) return false;
  for (const auto& [key, value] : a.items) {
    const Value* other = FindKey(runtime, b, key);
    if (other == nullptr || !IsEqual(runtime, value, *other)) return false;
  }
  return true;
}

std::string ObjectName(const Value& value) {
  return value.is_none() ? "None" : absl::StrCat(TypeName(value), " object");
}

Value NoElement(Runtime& runtime, const Value& object, const Value& key) {
  if (!key.is_string()) {
    return Value::MakeUndefined(
        absl::StrCat(ObjectName(object), " has no element ", ToUtf8(Repr(runtime, key))));
  }
  return Value::MakeUndefined(
      absl::StrCat("'", ObjectName(object), "' has no attribute ", ToUtf8(Repr(runtime, key))));
}

bool IsInternal(TextView name) { return StartsWith(name, U"__"); }

// An attribute that Python has, before items are looked at.
bool FindAttribute(Runtime& runtime, const Value& object, TextView name, Value* value) {
  if (Object* owned = object.AsObject()) return owned->GetAttribute(runtime, name, value);
  if (IsInternal(name)) {
    *value = UnsafeAttribute(object, name);
    return true;
  }
  return GetMethod(runtime, object, name, value);
}

// An item; false where Python raises a TypeError or LookupError.
bool FindItem(Runtime& runtime, const Value& object, const Value& key, Value* value) {
  if (object.is_dict()) {
    if (!key.is_hashable()) return false;
    const Value* found = FindKey(runtime, object.AsDict(), key);
    if (found != nullptr) *value = *found;
    return found != nullptr;
  }
  if (!key.is_integral()) return false;
  const bool is_string = object.is_string();
  if (!is_string && !(object.is_sequence() && object.AsSequence().has_elements())) return false;
  const auto size = static_cast<int64_t>(*Size(object));
  const int64_t index = key.AsInt() < 0 ? key.AsInt() + size : key.AsInt();
  if (index < 0 || index >= size) return false;
  *value = is_string ? Value(Text(1, object.AsText()[index]), object.is_markup())
                     : object.AsSequence().items[index];
  return true;
}

}  // namespace

Value UnsafeAttribute(const Value& object, TextView name) {
  return Value::MakeUndefined(
      absl::StrCat("access to attribute '", ToUtf8(name), "' of '", TypeName(object), "' object is unsafe"));
}

std::string TypeName(const Value& value) {
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "NoneType";
  if (value.is_bool()) return "bool";
  if (value.is_integral()) return "int";
  if (value.is_float()) return "float";
  if (value.is_string()) return value.is_markup() ? "Markup" : "str";
  if (value.is_dict()) return "dict";
  if (value.is_sequence()) {
    static constexpr const char* kNames[] = {"list",        "tuple",      "range",    "dict_keys",
                                             "dict_values", "dict_items", "generator"};
    return kNames[static_cast<int>(value.AsSequence().kind)];
  }
  return value.AsObject() != nullptr ? value.AsObject()->type() : "function";
}

bool IsTrue(Runtime& runtime, const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (value.is_integral()) return value.AsInt() != 0;
  if (value.is_float()) return value.AsDouble() != 0;
  const std::optional<size_t> size = Size(value);
  return !size.has_value() || *size > 0;
}

bool IsEqual(Runtime& runtime, const Value& a, const Value& b) {
  if (!runtime.Step()) return false;
  if (a.is_number() && b.is_number()) return OrderNumbers(a, b) == 0;
  if (a.is_undefined() && b.is_undefined()) return true;
  if (a.IsSame(b)) return true;
  if (a.is_string() && b.is_string()) {
    return a.AsText().size() == b.AsText().size() && runtime.Touch(a.AsText().size()) &&
           Equal(a.AsText(), b.AsText());
  }
  if (a.is_sequence() && b.is_sequence()) return IsEqualSequence(runtime, a.AsSequence(), b.AsSequence());
  if (a.is_dict() && b.is_dict()) return IsEqualDict(runtime, a.AsDict(), b.AsDict());
  return false;
}

std::partial_ordering Order(Runtime& runtime, const Value& a, const Value& b) {
  if (!runtime.Step()) return std::partial_ordering::unordered;
  if (a.is_undefined() || b.is_undefined()) {
    runtime.FailUndefined(a.is_undefined() ? a : b);
    return std::partial_ordering::unordered;
  }
  if (a.is_number() && b.is_number()) return OrderNumbers(a, b);
  if (a.is_string() && b.is_string()) {
    if (!runtime.Touch(std::min(a.AsText().size(), b.AsText().size())))
      return std::partial_ordering::unordered;
    return Compare(a.AsText(), b.AsText()) <=> 0;
  }
  if (a.is_sequence() && b.is_sequence() && SameKind(a.AsSequence(), b.AsSequence()) &&
      a.AsSequence().kind <= Sequence::Kind::kTuple) {
    const std::vector<Value>&x = a.AsSequence().items, &y = b.AsSequence().items;
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!IsEqual(runtime, x[i], y[i])) return Order(runtime, x[i], y[i]);
    }
    return x.size() <=> y.size();
  }
  runtime.Fail(absl::StrCat("there is no order between ", TypeName(a), " and ", TypeName(b)));
  return std::partial_ordering::unordered;
}

bool Contains(Runtime& runtime, const Value& container, const Value& item) {
  if (container.is_string()) {
    if (item.is_string()) {
      return runtime.Touch(container.AsText().size() + item.AsText().size()) &&
             Find(container.AsText(), item.AsText()) != Text::npos;
    }
    runtime.Fail(absl::StrCat("'in <text>' wants a text on its left, not ", TypeName(item)));
    return false;
  }
  if (container.is_dict()) {
    if (item.is_hashable()) return FindKey(runtime, container.AsDict(), item) != nullptr;
    runtime.Fail(absl::StrCat(TypeName(item), " is no key of a dict"));
    return false;
  }
  const std::vector<Value> items = Elements(runtime, container);
  return std::ranges::any_of(items, [&](const Value& each) { return IsEqual(runtime, item, each); });
}

bool Holds(Runtime& runtime, Comparison comparison, const Value& a, const Value& b) {
  switch (comparison) {
    case Comparison::kEqual:
      return IsEqual(runtime, a, b);
    case Comparison::kNotEqual:
      return !IsEqual(runtime, a, b);
    case Comparison::kLess:
      return Order(runtime, a, b) < 0;
    case Comparison::kLessEqual:
      return Order(runtime, a, b) <= 0;
    case Comparison::kGreater:
      return Order(runtime, a, b) > 0;
    case Comparison::kGreaterEqual:
      return Order(runtime, a, b) >= 0;
    case Comparison::kIn:
      return Contains(runtime, b, a);
    case Comparison::kNotIn:
      return !Contains(runtime, b, a);
  }
  return false;
}

Text ToText(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) return Text();
  if (value.is_string()) return runtime.Room(value.AsText().size()) ? Text(value.AsText()) : Text();
  return Repr(runtime, value);
}

std::optional<size_t> Size(const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_string()) return value.AsText().size();
  if (value.is_dict()) return value.AsDict().items.size();
  if (value.is_sequence() && value.AsSequence().has_size()) return value.AsSequence().items.size();
  return std::nullopt;
}

bool IsIterable(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is_dict() || value.is_sequence();
}

std::vector<Value> Elements(Runtime& runtime, const Value& value) {
  std::vector<Value> elements;
  if (value.is_undefined() || runtime.failed()) return elements;
  if (!IsIterable(value)) {
    runtime.Fail(absl::StrCat(TypeName(value), " has no elements to go through"));
    return elements;
  }
  if (value.is_sequence() && !value.AsSequence().has_size()) {
    const Sequence& iterator = value.AsSequence();
    elements.assign(iterator.items.begin() + iterator.next, iterator.items.end());
    iterator.next = iterator.items.size();
    return runtime.Step(elements.size()) ? elements : std::vector<Value>();
  }
  const size_t size = *Size(value);
  if (!runtime.Step(size) || (value.is_string() && !runtime.Room(16 * size))) return elements;
  if (value.is_sequence()) return value.AsSequence().items;
  elements.reserve(size);
  if (value.is_string()) {
    for (const char32_t c : value.AsText()) elements.push_back(Value(Text(1, c)));
  } else {
    for (const auto& [key, member] : value.AsDict().items) elements.push_back(key);
  }
  return elements;
}

std::vector<Value> Unpack(Runtime& runtime, const Value& value, size_t count) {
  std::vector<Value> elements = Elements(runtime, value);
  if (!runtime.failed() && elements.size() != count) {
    runtime.Fail(absl::StrCat("cannot unpack ", elements.size(), " elements into ", count, " names"));
  }
  if (runtime.failed()) elements.assign(count, Value());
  return elements;
}

const Value* FindKey(Runtime& runtime, const Dict& dict, const Value& key) {
  if (!runtime.Step(dict.items.size())) return nullptr;
  if (key.is_string()) {
    const auto may_equal = [&](const auto& item) {
      return item.first.is_string() && item.first.AsText().size() == key.AsText().size();
    };
    const auto candidates = std::ranges::count_if(dict.items, may_equal);
    return runtime.Touch(static_cast<size_t>(candidates) * key.AsText().size()) ? dict.Find(key.AsText())
                                                                                : nullptr;
  }
  for (const auto& [each, value] : dict.items) {
    if (IsEqual(runtime, each, key)) return &value;
  }
  return nullptr;
}

Value GetItem(Runtime& runtime, const Value& object, const Value& key) {
  if (object.is_undefined()) return runtime.FailUndefined(object);
  Value value;
  if (FindItem(runtime, object, key, &value)) return value;
  if (key.is_string() && FindAttribute(runtime, object, key.AsText(), &value)) return value;
  return NoElement(runtime, object, key);
}

Value GetAttribute(Runtime& runtime, const Value& object, TextView name) {
  if (object.is_undefined()) return runtime.FailUndefined(object);
  Value value;
  if (FindAttribute(runtime, object, name, &value)) return value;
  const Value key{Text(name)};
  if (FindItem(runtime, object, key, &value)) return value;
  return NoElement(runtime, object, key);
}

Value Slice(Runtime& runtime, const Value& object, const Value& start, const Value& stop, const Value& step) {
  if (object.is_undefined()) return runtime.FailUndefined(object);
  for (const Value* index : {&start, &stop, &step}) {
    if (!index->is_none() && !index->is_integral()) {
      return runtime.Fail(absl::StrCat("a slice goes by whole numbers, not by ", TypeName(*index)));
    }
  }
  if (!object.is_string() && !(object.is_sequence() && object.AsSequence().has_elements())) {
    return runtime.Fail(absl::StrCat("there is no slice of ", TypeName(object)));
  }
  const int64_t stride = step.is_none() ? 1 : step.AsInt();
  if (stride == 0) return runtime.Fail("the step of a slice is zero");
  const auto size = static_cast<int64_t>(*Size(object));
  const int64_t low = stride > 0 ? 0 : -1, high = stride > 0 ? size : size - 1;
  const auto bound = [&](const Value& index, int64_t otherwise) {
    if (index.is_none()) return otherwise;
    const int64_t at = index.AsInt();
    return std::clamp(at < 0 ? at + size : at, low, high);
  };
  const int64_t first = bound(start, stride > 0 ? low : high), last = bound(stop, stride > 0 ? high : low);
  std::vector<int64_t> indices;
  for (int64_t at = first; stride > 0 ? at < last : at > last;) {
    indices.push_back(at);
    if (stride > 0 ? stride >= last - at : stride <= last - at) break;
    at += stride;
  }
  if (!runtime.Step(indices.size())) return Value();
  if (object.is_string()) {
    Text text;
    for (const int64_t at : indices) text.push_back(object.AsText()[at]);
    return MakeText(runtime, std::move(text), object.is_markup());
  }
  std::vector<Value> items;
  for (const int64_t at : indices) items.push_back(object.AsSequence().items[at]);
  return MakeList(runtime, std::move(items), object.AsSequence().kind);
}

bool IsCallable(const Value& value) {
  if (value.is_undefined() || value.AsFunction() != nullptr) return true;  // undefined: fails when called
  return value.AsObject() != nullptr && value.AsObject()->is_callable();
}

bool TouchTexts(Runtime& runtime, const Value& value, const Arguments& arguments) {
  size_t size = value.is_string() ? value.AsText().size() : 0;
  for (const Value& each : arguments.values) size += each.is_string() ? each.AsText().size() : 0;
  for (const auto& [name, each] : arguments.named) size += each.is_string() ? each.AsText().size() : 0;
  return runtime.Touch(size);
}

Value Call(Runtime& runtime, const Value& callee, const Arguments& arguments) {
  if (runtime.failed() || !runtime.Step()) return Value();
  if (callee.is_undefined()) return runtime.FailUndefined(callee);
  if (const Function* function = callee.AsFunction()) return function->call(runtime, arguments);
  if (Object* object = callee.AsObject()) return object->Call(runtime, arguments);
  return runtime.Fail(absl::StrCat(TypeName(callee), " cannot be called"));
}

}  // namespace temper::jinja
