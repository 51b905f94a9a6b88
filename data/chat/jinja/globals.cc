// SPDX-License-Identifier: Apache-2.0
// The functions that a template has by name: Jinja's range, dict and namespace, and Transformers'
// raise_exception and strftime_now.
#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "data/chat/jinja/jinja.h"

namespace temper::jinja {
namespace {

// What `set ns.name = ...` writes.
class Namespace : public Object {
 public:
  std::string type() const override { return "Namespace"; }
  bool GetAttribute(Runtime& runtime, TextView name, Value* value) override {
    if (!runtime.Touch(name.size())) return false;
    const auto found = members_.find(ToUtf8(name));
    if (found != members_.end()) *value = found->second;
    return found != members_.end();
  }
  Value* Member(const std::string& name) override { return &members_[name]; }

 private:
  absl::flat_hash_map<std::string, Value> members_;
};

Value Range(Runtime& runtime, const Arguments& arguments) {
  const Bound bound(runtime, "range", arguments, {"start", "stop", "step"}, 1);
  const bool has_start = bound.has(1);
  const int64_t start = has_start ? bound.Int(0, 0) : 0, stop = bound.Int(has_start ? 1 : 0, 0);
  const int64_t step = bound.Int(2, 1);
  if (step == 0) return runtime.Fail("range: the step is zero");
  const __int128 span = step > 0 ? static_cast<__int128>(stop) - start : static_cast<__int128>(start) - stop;
  const __int128 stride = step > 0 ? static_cast<__int128>(step) : -static_cast<__int128>(step);
  const __int128 count = span <= 0 ? 0 : (span + stride - 1) / stride;
  if (count > Runtime::kMaxRange) {
    return runtime.Fail(absl::StrCat("range: has more than ", Runtime::kMaxRange, " elements"));
  }
  std::vector<Value> items;
  for (int64_t i = 0; i < static_cast<int64_t>(count); ++i) items.emplace_back(start + i * step);
  return MakeList(runtime, std::move(items), Sequence::Kind::kRange);
}

// The members that dict(...) and namespace(...) name: those of a dict or pairs, then the named ones.
std::vector<std::pair<Value, Value>> Members(Runtime& runtime, const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> members;
  const auto set = [&](const Value& key, const Value& value) {
    if (runtime.failed()) return;
    if (!key.is_hashable()) runtime.Fail(absl::StrCat(TypeName(key), " is no key of a dict"));
    for (auto& [each, old] : members) {
      if (IsEqual(runtime, each, key)) {
        old = value;
        return;
      }
    }
    members.emplace_back(key, value);
  };
  if (arguments.values.size() > 1) runtime.Fail("dict: takes at most one argument without a name");
  if (!arguments.values.empty() && arguments.values[0].is_undefined()) {
    runtime.FailUndefined(arguments.values[0]);
  } else if (!arguments.values.empty() && arguments.values[0].is_dict()) {
    members = arguments.values[0].AsDict().items;
  } else if (!arguments.values.empty()) {
    for (const Value& pair : Elements(runtime, arguments.values[0])) {
      const std::vector<Value> parts = Unpack(runtime, pair, 2);
      set(parts[0], parts[1]);
    }
  }
  for (const auto& [name, value] : arguments.named) set(FromUtf8(name), value);
  return members;
}

Value MakeNamespace(Runtime& runtime, const Arguments& arguments) {
  auto* made = runtime.Own<Namespace>();
  for (const auto& [key, value] : Members(runtime, arguments)) {
    const std::string name = key.is_string() ? ToUtf8(key.AsText()) : std::string();
    if (name.starts_with("_")) {
      return runtime.Fail(absl::StrCat("a namespace has no attribute ", name, ", which starts with _"));
    }
    *made->Member(name) = value;
  }
  return made;
}

Value RaiseException(Runtime& runtime, const Arguments& arguments) {
  const Bound bound(runtime, "raise_exception", arguments, {"message"}, 1);
  return runtime.Fail("raise_exception: " + ToUtf8(ToText(runtime, bound[0])));
}

Value StrftimeNow(Runtime& runtime, const Arguments& arguments) {
  const Bound bound(runtime, "strftime_now", arguments, {"format"}, 1);
  std::string format = ToUtf8(bound.String(0, {}));
  if (format.size() > 1000) return runtime.Fail("strftime_now: the format has more than 1000 bytes");
  if (!runtime.now()) {
    return runtime.Fail(
        "strftime_now: a run must not depend on its day: give one in the recipe, `date: YYYY-MM-DD`");
  }
  // As Python's datetime: a time without a zone, and microseconds, which C has none of.
  std::string plain;
  for (size_t i = 0; i < format.size(); ++i) {
    const char next = format[i] == '%' && i + 1 < format.size() ? format[i + 1] : '\0';
    if (next == 'f') plain += absl::StrFormat("%06d", runtime.microseconds());
    if (next != 'f' && next != 'z' && next != 'Z') plain += format[i];
    if (next != 'f' && next != 'z' && next != 'Z' && next != '\0') plain += next;
    if (next != '\0') ++i;
  }
  if (plain.empty()) return Text();
  std::string written(64 * plain.size() + 64, '\0');
  written.resize(strftime(written.data(), written.size(), plain.c_str(), &*runtime.now()));
  return runtime.Room(written.size()) ? Value(FromUtf8(written)) : Value();
}

}  // namespace

Value FindGlobal(Runtime& runtime, std::string_view name) {
  using Body = Value (*)(Runtime&, const Arguments&);
  static constexpr std::pair<std::string_view, Body> kGlobals[] = {
      {"dict", [](Runtime& running,
                  const Arguments& arguments) { return MakeDict(running, Members(running, arguments)); }},
      {"namespace", MakeNamespace},
      {"raise_exception", RaiseException},
      {"range", Range},
      {"strftime_now", StrftimeNow}};
  for (const auto& [each, body] : kGlobals) {
    if (each == name) return std::make_shared<const Function>(Function{std::string(name), body});
  }
  return Value();
}

}  // namespace temper::jinja
