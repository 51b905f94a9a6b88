// SPDX-License-Identifier: Apache-2.0
// Jinja's filters of lists and dicts, and all filters by name. Those with a random or HTML side are left out.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "data/chat/jinja/attribute.h"
#include "data/chat/jinja/node.h"

namespace temper::jinja {
namespace {

using SequenceKind = Sequence::Kind;

Value Iterator(Runtime& runtime, std::vector<Value> items) {
  return MakeList(runtime, std::move(items), SequenceKind::kIterator);
}

Value Length(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "length", arguments, {});
  const std::optional<size_t> size = Size(value);
  if (!size) return runtime.Fail(absl::StrCat("length: ", TypeName(value), " has no length"));
  return static_cast<int64_t>(*size);
}

Value Default(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "default", arguments, {"default_value", "boolean"});
  const bool is_absent = value.is_undefined() || (bound.Truth(1, false) && !IsTrue(runtime, value));
  return is_absent ? bound.Or(0, Text()) : value;
}

Value List(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "list", arguments, {});
  return MakeList(runtime, Elements(runtime, value));
}

Value First(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "first", arguments, {});
  if (value.is_sequence() && !value.AsSequence().has_size()) {
    const Sequence& iterator = value.AsSequence();
    if (iterator.next < iterator.items.size()) return iterator.items[iterator.next++];
  }
  const std::vector<Value> elements = Elements(runtime, value);
  return elements.empty() ? Value::MakeUndefined("there is no first item, the sequence is empty")
                          : elements[0];
}

Value Last(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "last", arguments, {});
  if (!Size(value)) return runtime.Fail(absl::StrCat("last: ", TypeName(value), " has no end"));
  const std::vector<Value> elements = Elements(runtime, value);
  return elements.empty() ? Value::MakeUndefined("there is no last item, the sequence is empty")
                          : elements.back();
}

Value Reverse(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "reverse", arguments, {});
  if (value.is_string()) {
    Text text(value.AsText());
    std::ranges::reverse(text);
    return MakeText(runtime, std::move(text), value.is_markup());
  }
  std::vector<Value> elements = Elements(runtime, value);
  std::ranges::reverse(elements);
  return Iterator(runtime, std::move(elements));
}

Value Join(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "join", arguments, {"d", "attribute"});
  const Text separator = bound.has(0) ? ToText(runtime, bound[0]) : Text();
  const Attribute attribute(runtime, bound.Or(1, None()));
  Text text;
  bool is_first = true;
  for (const Value& element : Elements(runtime, value)) {
    if (!is_first) text += separator;
    is_first = false;
    text += ToText(runtime, attribute.Of(element));
    if (!runtime.Room(separator.size())) return Value();
  }
  return MakeText(runtime, std::move(text));
}

Value Items(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "items", arguments, {});
  if (value.is_undefined()) return Iterator(runtime, {});
  if (!value.is_dict()) return runtime.Fail(absl::StrCat("items: wants a dict, not ", TypeName(value)));
  std::vector<Value> items;
  for (const auto& [key, item] : value.AsDict().items) {
    items.push_back(MakeList(runtime, {key, item}, SequenceKind::kTuple));
  }
  return Iterator(runtime, std::move(items));
}

using Keyed = std::pair<Value, Value>;  // what an element is sorted by, and the element

std::vector<Value> Sorted(Runtime& runtime, std::vector<Keyed> keyed, bool reverse) {
  std::ranges::stable_sort(keyed, [&](const Keyed& a, const Keyed& b) {
    const std::partial_ordering order = Order(runtime, a.first, b.first);
    return reverse ? order > 0 : order < 0;
  });
  std::vector<Value> sorted;
  for (Keyed& each : keyed) sorted.push_back(std::move(each.second));
  return sorted;
}

Value DictSort(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "dictsort", arguments, {"case_sensitive", "by", "reverse"});
  if (value.is_undefined()) return runtime.FailUndefined(value);
  if (!value.is_dict()) return runtime.Fail(absl::StrCat("dictsort: wants a dict, not ", TypeName(value)));
  const Text by = bound.String(1, U"key");
  const bool by_key = Equal(by, "key"), keeps_case = bound.Truth(0, false);
  if (!by_key && !Equal(by, "value")) return runtime.Fail("dictsort: sorts by key or by value");
  std::vector<Keyed> keyed;
  for (const auto& [key, item] : value.AsDict().items) {
    const Value& sorted_by = by_key ? key : item;
    keyed.emplace_back(keeps_case ? sorted_by : IgnoreCase(runtime, sorted_by),
                       MakeList(runtime, {key, item}, SequenceKind::kTuple));
  }
  return MakeList(runtime, Sorted(runtime, std::move(keyed), bound.Truth(2, false)));
}

Value Sort(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const bool keeps_case = bound.Truth(1, false);
  const Value attribute = bound.Or(2, None());
  std::vector<Attribute> attributes;  // "a,b": by a, then by b
  if (attribute.is_string()) {
    for (const TextView each : Split(attribute.AsText(), U",", -1))
      attributes.emplace_back(runtime, Value(each));
  } else {
    attributes.emplace_back(runtime, attribute);
  }
  std::vector<Keyed> keyed;
  for (const Value& element : Elements(runtime, value)) {
    std::vector<Value> keys;
    for (const Attribute& each : attributes) {
      keys.push_back(keeps_case ? each.Of(element) : IgnoreCase(runtime, each.Of(element)));
    }
    keyed.emplace_back(MakeList(runtime, std::move(keys)), element);
  }
  return MakeList(runtime, Sorted(runtime, std::move(keyed), bound.Truth(0, false)));
}

Value Unique(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "unique", arguments, {"case_sensitive", "attribute"});
  const bool keeps_case = bound.Truth(0, false);
  const Attribute attribute(runtime, bound.Or(1, None()));
  std::vector<Value> seen, unique;
  for (const Value& element : Elements(runtime, value)) {
    Value key = keeps_case ? attribute.Of(element) : IgnoreCase(runtime, attribute.Of(element));
    if (!key.is_hashable())
      return runtime.Fail(absl::StrCat("unique: ", TypeName(key), " cannot be looked up"));
    const auto is_same = [&](const Value& each) { return IsEqual(runtime, each, key); };
    if (std::ranges::any_of(seen, is_same)) continue;
    if (runtime.failed()) break;
    seen.push_back(std::move(key));
    unique.push_back(element);
  }
  return Iterator(runtime, std::move(unique));
}

template <bool is_max>
Value Extreme(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, is_max ? "max" : "min", arguments, {"case_sensitive", "attribute"});
  const bool keeps_case = bound.Truth(0, false);
  const Attribute attribute(runtime, bound.Or(1, None()));
  const auto key = [&](const Value& element) {
    return keeps_case ? attribute.Of(element) : IgnoreCase(runtime, attribute.Of(element));
  };
  const std::vector<Value> elements = Elements(runtime, value);
  if (elements.empty()) return Value::MakeUndefined("there is no item, the sequence is empty");
  Value best = elements[0], best_key = key(best);
  for (size_t i = 1; i < elements.size() && !runtime.failed(); ++i) {
    Value other = key(elements[i]);
    const std::partial_ordering order = Order(runtime, other, best_key);
    if (is_max ? order > 0 : order < 0) {
      best = elements[i];
      best_key = std::move(other);
    }
  }
  return best;
}

Value Sum(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "sum", arguments, {"attribute", "start"});
  const Attribute attribute(runtime, bound.Or(0, None()));
  Value sum = bound.Or(1, int64_t{0});
  if (sum.is_string()) return runtime.Fail("sum: adds no texts; use join");
  for (const Value& element : Elements(runtime, value)) {
    sum = Calculate(runtime, Operator::kAdd, sum, attribute.Of(element));
  }
  return sum;
}

Value Batch(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "batch", arguments, {"linecount", "fill_with"}, 1);
  const int64_t size = bound.Int(0, 1);
  std::vector<Value> batches, batch;
  const std::vector<Value> elements = Elements(runtime, value);
  for (size_t i = 0; i < elements.size(); ++i) {
    if (static_cast<int64_t>(batch.size()) == size)
      batches.push_back(MakeList(runtime, std::exchange(batch, {})));
    batch.push_back(elements[i]);
  }
  if (batch.empty()) return Iterator(runtime, std::move(batches));
  const int64_t missing = size - static_cast<int64_t>(batch.size());
  if (bound.has(1) && !bound[1].is_none() && missing > 0) {
    if (missing > Runtime::kMaxRange || !runtime.Room(16 * missing))
      return runtime.Fail("batch: is too large");
    batch.insert(batch.end(), missing, bound[1]);
  }
  batches.push_back(MakeList(runtime, std::move(batch)));
  return Iterator(runtime, std::move(batches));
}

Value SliceFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "slice", arguments, {"slices", "fill_with"}, 1);
  const int64_t count = bound.Int(0, 1);
  const std::vector<Value> elements = Elements(runtime, value);
  if (count <= 0 || count > Runtime::kMaxRange) return runtime.Fail("slice: cannot make that many");
  const auto size = static_cast<int64_t>(elements.size());
  std::vector<Value> slices;
  int64_t begin = 0;
  for (int64_t i = 0; i < count; ++i) {
    const bool is_longer = i < size % count;
    const int64_t end = begin + size / count + (is_longer ? 1 : 0);
    std::vector<Value> slice(elements.begin() + begin, elements.begin() + end);
    if (!is_longer && bound.has(1) && !bound[1].is_none()) slice.push_back(bound[1]);
    slices.push_back(MakeList(runtime, std::move(slice)));
    begin = end;
  }
  return Iterator(runtime, std::move(slices));
}

Value Attr(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "attr", arguments, {"name"}, 1);
  const Text name = bound.String(0, {});
  Value attribute;
  Object* object = value.AsObject();
  const bool has = object != nullptr ? object->GetAttribute(runtime, name, &attribute)
                                     : GetMethod(runtime, value, name, &attribute);
  return has ? attribute
             : Value::MakeUndefined(absl::StrCat(TypeName(value), " has no attribute ", ToUtf8(name)));
}

// What is left of the arguments without the first `count`.
Arguments Rest(const Arguments& arguments, size_t count) {
  Arguments rest = arguments;
  rest.values.erase(rest.values.begin(), rest.values.begin() + std::min(count, rest.values.size()));
  return rest;
}

std::string NameOf(const Value& value) { return value.is_string() ? ToUtf8(value.AsText()) : std::string(); }

Value MapAttribute(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "map", arguments, {"attribute", "default"}, 1);
  const Attribute attribute(runtime, bound[0], bound.Or(1, None()));
  std::vector<Value> mapped;
  for (const Value& element : Elements(runtime, value)) mapped.push_back(attribute.Of(element));
  return Iterator(runtime, std::move(mapped));
}

Value Map(Runtime& runtime, const Value& value, const Arguments& arguments) {
  if (!IsTrue(runtime, value)) return Iterator(runtime, {});
  if (arguments.values.empty()) return MapAttribute(runtime, value, arguments);
  const std::string name = NameOf(arguments.values[0]);
  const FilterBody filter = FindFilter(name);
  if (filter == nullptr) return runtime.Fail(absl::StrCat("map: temper knows no filter ", name));
  const Arguments rest = Rest(arguments, 1);
  std::vector<Value> mapped;
  for (const Value& element : Elements(runtime, value)) {
    if (!TouchTexts(runtime, element, rest)) break;
    mapped.push_back(filter(runtime, element, rest));
  }
  return Iterator(runtime, std::move(mapped));
}

template <bool by_attribute, bool keeps_true>
Value Select(Runtime& runtime, const Value& value, const Arguments& arguments) {
  if (!IsTrue(runtime, value)) return Iterator(runtime, {});
  constexpr size_t kName = by_attribute ? 1 : 0;
  if (arguments.values.size() < kName) return runtime.Fail("selectattr: lacks the attribute's name");
  const Attribute attribute(runtime, by_attribute ? arguments.values[0] : Value(None()));
  TestBody test = nullptr;
  if (arguments.values.size() > kName) {
    const std::string name = NameOf(arguments.values[kName]);
    test = FindTest(name);
    if (test == nullptr) return runtime.Fail(absl::StrCat("select: temper knows no test ", name));
  }
  const Arguments rest = Rest(arguments, kName + 1);
  std::vector<Value> selected;
  for (const Value& element : Elements(runtime, value)) {
    const Value tested = attribute.Of(element);
    if (!TouchTexts(runtime, tested, rest)) break;
    if ((test != nullptr ? test(runtime, tested, rest) : IsTrue(runtime, tested)) == keeps_true) {
      selected.push_back(element);
    }
  }
  return Iterator(runtime, std::move(selected));
}

constexpr Filter kFilters[] = {
    {"attr", Attr},
    {"batch", Batch},
    {"count", Length},
    {"d", Default},
    {"default", Default},
    {"dictsort", DictSort},
    {"first", First},
    {"items", Items},
    {"join", Join},
    {"last", Last},
    {"length", Length},
    {"list", List},
    {"map", Map},
    {"max", Extreme<true>},
    {"min", Extreme<false>},
    {"reject", Select<false, false>},
    {"rejectattr", Select<true, false>},
    {"reverse", Reverse},
    {"select", Select<false, true>},
    {"selectattr", Select<true, true>},
    {"slice", SliceFilter},
    {"sort", Sort},
    {"sum", Sum},
    {"unique", Unique},
};

}  // namespace

FilterBody FindFilter(std::string_view name) {
  for (const absl::Span<const Filter> filters : {absl::MakeConstSpan(kFilters), TextFilters()}) {
    for (const Filter& filter : filters) {
      if (filter.name == name) return filter.body;
    }
  }
  return nullptr;
}

}  // namespace temper::jinja
