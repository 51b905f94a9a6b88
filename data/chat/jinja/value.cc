// SPDX-License-Identifier: Apache-2.0
#include "data/chat/jinja/value.h"

#include <algorithm>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "core/one_of.h"
#include "data/chat/jinja/runtime.h"

namespace temper::jinja {
namespace {

// A list that holds `items`: fails where they are nested too deep to be walked.
template <class T>
Value Share(Runtime& runtime, T made, int depth, size_t size) {
  if (depth > Runtime::kMaxDepth) {
    return runtime.Fail(absl::StrCat("lists and dicts are nested more than ", Runtime::kMaxDepth, " deep"));
  }
  if (!runtime.Step(size + 1) || !runtime.Room(16 * size)) return Value();
  made.depth = depth;
  return std::make_shared<const T>(std::move(made));
}

}  // namespace

const Function* Value::AsFunction() const {
  const auto* function = std::get_if<std::shared_ptr<const Function>>(&data_);
  return function == nullptr ? nullptr : function->get();
}

Object* Value::AsObject() const {
  Object* const* object = std::get_if<Object*>(&data_);
  return object == nullptr ? nullptr : *object;
}

std::string Value::WhyUndefined() const {
  const auto* undefined = std::get_if<Undefined>(&data_);
  return undefined == nullptr || undefined->why == nullptr ? "a value is undefined" : *undefined->why;
}

bool Value::IsSame(const Value& other) const {
  if (data_.index() != other.data_.index()) return false;
  return std::visit(
      [&](const auto& mine) {
        using T = std::decay_t<decltype(mine)>;
        if constexpr (std::is_same_v<T, Undefined>) {
          return mine.why == std::get<T>(other.data_).why;
        } else if constexpr (std::is_same_v<T, None>) {
          return true;
        } else {
          return mine == std::get<T>(other.data_);
        }
      },
      data_);
}

bool Value::is_hashable() const { return !is_dict() && (!is_sequence() || AsSequence().is_hashable); }

int Value::depth() const { return is_sequence() ? AsSequence().depth : is_dict() ? AsDict().depth : 0; }

const Value* Dict::Find(TextView key) const {
  for (const auto& [each, value] : items) {
    if (each.is_string() && Equal(each.AsText(), key)) return &value;
  }
  return nullptr;
}

const Value* Dict::Find(std::string_view ascii_key) const {
  for (const auto& [each, value] : items) {
    if (each.is_string() && Equal(each.AsText(), ascii_key)) return &value;
  }
  return nullptr;
}

Value Object::Call(Runtime& runtime, const Arguments& arguments) {
  return runtime.Fail(absl::StrCat(type(), " cannot be called"));
}

Value MakeList(Runtime& runtime, std::vector<Value> items, Sequence::Kind kind) {
  int depth = 0;
  bool is_hashable =
      IsOneOf(kind, {Sequence::Kind::kTuple, Sequence::Kind::kRange, Sequence::Kind::kIterator});
  for (const Value& item : items) {
    depth = std::max(depth, item.depth());
    is_hashable &= kind != Sequence::Kind::kTuple || item.is_hashable();
  }
  const size_t size = items.size();
  return Share(runtime, Sequence{.kind = kind, .items = std::move(items), .is_hashable = is_hashable},
               depth + 1, size);
}

Value MakeDict(Runtime& runtime, std::vector<std::pair<Value, Value>> items) {
  int depth = 0;
  for (const auto& [key, value] : items) depth = std::max({depth, key.depth(), value.depth()});
  const size_t size = items.size();
  return Share(runtime, Dict{std::move(items)}, depth + 1, size);
}

Value MakeText(Runtime& runtime, Text text, bool is_markup) {
  return runtime.Room(text.size()) ? Value(std::move(text), is_markup) : Value();
}

Value FromJson(Runtime& runtime, const Json& json, bool marked) {
  if (json.is_null()) return None();
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_unsigned() && json.get<uint64_t>() > INT64_MAX) {
    return runtime.Fail(absl::StrCat("the number ", json.get<uint64_t>(), " is beyond 64 bits"));
  }
  if (json.is_number_integer()) return json.get<int64_t>();
  if (IsWrittenNumber(json)) {
    const std::string written = DumpJson(json);
    if (written.find_first_of(".eE") != written.npos) return std::strtod(written.c_str(), nullptr);
    return runtime.Fail(absl::StrCat("the number ", written.substr(0, 40), " is beyond 64 bits"));
  }
  if (json.is_number_float()) return json.get<double>();
  if (json.is_string()) {
    const auto& utf8 = json.get_ref<const std::string&>();
    return runtime.Room(utf8.size()) ? Value(FromUtf8(utf8, marked)) : Value();
  }
  if (json.is_array()) {
    std::vector<Value> items;
    for (const Json& item : json) items.push_back(FromJson(runtime, item, marked));
    return MakeList(runtime, std::move(items));
  }
  std::vector<std::pair<Value, Value>> items;
  for (const auto& [key, value] : json.items()) {
    items.emplace_back(FromUtf8(key, marked), FromJson(runtime, value, marked));
  }
  return MakeDict(runtime, std::move(items));
}

}  // namespace temper::jinja
