// SPDX-License-Identifier: Apache-2.0
// Methods of str, dict, list and tuple, by one table each. Those that change their object are there but
// unsafe, as in Jinja's immutable sandbox.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "data/chat/jinja/format.h"
#include "data/chat/jinja/operators.h"

namespace temper::jinja {
namespace {

using MethodBody = Value (*)(Runtime&, const Value&, const Arguments&);
struct Method {
  std::string_view name;
  MethodBody body;  // null: exists in Python, not here
};

Value MadeList(Runtime& runtime, const Value& self, const std::vector<TextView>& parts,
               Sequence::Kind kind = Sequence::Kind::kList) {
  if (!runtime.Room(16 * parts.size())) return Value();  // beside what the list itself takes
  std::vector<Value> items;
  for (const TextView part : parts) items.push_back(MakeText(runtime, Text(part), self.is_markup()));
  return MakeList(runtime, std::move(items), kind);
}

template <Ends ends>
Value StripMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "strip", arguments, {"chars"});
  const TextView text = self.AsText();
  if (!bound.has(0) || bound[0].is_none())
    return MakeText(runtime, Text(Strip(text, ends)), self.is_markup());
  return MakeText(runtime, Text(Strip(text, bound.String(0, {}), ends)), self.is_markup());
}

template <bool from_end>
Value SplitMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "split", arguments, {"sep", "maxsplit"});
  const TextView text = self.AsText();
  const int64_t limit = bound.Int(1, -1);
  if (!runtime.Step(text.size() + 1)) return Value();
  if (!bound.has(0) || bound[0].is_none()) {
    return MadeList(runtime, self, SplitSpace(text, limit, from_end));
  }
  const Text separator = bound.String(0, {});
  if (separator.empty()) return runtime.Fail("split: the separator is empty");
  return MadeList(runtime, self,
                  from_end ? SplitLast(text, separator, limit) : Split(text, separator, limit));
}

template <bool from_end>
Value PartitionMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "partition", arguments, {"sep"}, 1);
  const Text separator = bound.String(0, {});
  if (separator.empty()) return runtime.Fail("partition: the separator is empty");
  const TextView text = self.AsText();
  const size_t at = from_end ? FindLast(text, separator) : Find(text, separator);
  if (at == Text::npos) {
    return MadeList(runtime, self,
                    from_end ? std::vector<TextView>{{}, {}, text} : std::vector<TextView>{text, {}, {}},
                    Sequence::Kind::kTuple);
  }
  return MadeList(runtime, self, {text.substr(0, at), separator, text.substr(at + separator.size())},
                  Sequence::Kind::kTuple);
}

// The part of the text that start and stop (arguments 1 and 2) name, and where it begins.
TextView Part(const Bound& bound, TextView text, size_t* begin) {
  const auto size = static_cast<int64_t>(text.size());
  const auto place = [&](size_t i, int64_t otherwise) {
    if (!bound.has(i) || bound[i].is_none()) return otherwise;
    const int64_t at = bound.Int(i, otherwise);
    return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size);
  };
  const int64_t first = place(1, 0), last = place(2, size);
  *begin = first;
  return first > last ? TextView() : text.substr(first, last - first);
}

template <bool (*holds)(TextView, TextView)>
Value AffixMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "startswith", arguments, {"prefix", "start", "end"}, 1);
  size_t begin = 0;
  const TextView text = Part(bound, self.AsText(), &begin);
  if (bound[0].is_sequence() && bound[0].AsSequence().kind == Sequence::Kind::kTuple) {
    const std::vector<Value>& affixes = bound[0].AsSequence().items;
    return std::ranges::any_of(affixes, [&](const Value& affix) {
      if (affix.is_string()) return holds(text, affix.AsText());
      runtime.Fail("startswith: wants texts");
      return false;
    });
  }
  return holds(text, bound.String(0, {}));
}

template <bool from_end, bool must_be_there>
Value FindMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "find", arguments, {"sub", "start", "end"}, 1);
  size_t begin = 0;
  const TextView text = Part(bound, self.AsText(), &begin);
  if (!runtime.Step(text.size() + 1)) return Value();
  const Text needle = bound.String(0, {});
  const size_t at = from_end ? FindLast(text, needle) : Find(text, needle);
  if (at != Text::npos) return static_cast<int64_t>(begin + at);
  return must_be_there ? runtime.Fail("index: the text is not there") : Value(int64_t{-1});
}

Value CountMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "count", arguments, {"sub", "start", "end"}, 1);
  size_t begin = 0;
  const TextView text = Part(bound, self.AsText(), &begin);
  return static_cast<int64_t>(Count(text, bound.String(0, {})));
}

Value ReplaceMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "replace", arguments, {"old", "new", "count"}, 2);
  const Text from = bound.String(0, {}), to = bound.String(1, {});
  const TextView text = self.AsText();
  if (!runtime.Step(text.size() + 1)) return Value();
  const int64_t limit = bound.Int(2, -1);
  const size_t count = limit < 0 ? Count(text, from) : std::min<size_t>(limit, Count(text, from));
  if (!runtime.Room(count <= Runtime::kMaxText ? text.size() + count * to.size() : Runtime::kMaxText + 1)) {
    return Value();
  }
  return Value(Replace(text, from, to, limit), self.is_markup());
}

template <Text (*map)(TextView)>
Value MapMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "upper", arguments, {});
  return MakeText(runtime, map(self.AsText()), self.is_markup());
}

template <bool (*holds)(char32_t)>
Value AllMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "isdigit", arguments, {});
  const TextView text = self.AsText();
  return !text.empty() && std::ranges::all_of(text, holds);
}

bool IsAlphaNumeric(char32_t c) { return IsAlpha(c) || IsNumeric(c); }
bool IsAscii(char32_t c) { return Bare(c) < 0x80; }

template <bool (*holds)(TextView)>
Value CaseMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "isupper", arguments, {});
  return holds(self.AsText());
}

Value JoinMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "join", arguments, {"iterable"}, 1);
  Text text;
  bool is_first = true;
  for (const Value& item : Elements(runtime, bound[0])) {
    if (!item.is_string()) return runtime.Fail(absl::StrCat("join: ", TypeName(item), " is no text"));
    if (!is_first) text += self.AsText();
    is_first = false;
    text += self.is_markup() && !item.is_markup() ? EscapeHtml(item.AsText()) : Text(item.AsText());
    if (!runtime.Room(self.AsText().size() + item.AsText().size())) return Value();
  }
  return Value(std::move(text), self.is_markup());
}

Value SplitLinesMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "splitlines", arguments, {"keepends"});
  return MadeList(runtime, self, SplitLines(self.AsText(), bound.Truth(0, false)));
}

template <bool is_prefix>
Value RemoveMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "removeprefix", arguments, {"prefix"}, 1);
  const Text affix = bound.String(0, {});
  TextView text = self.AsText();
  if (is_prefix && StartsWith(text, affix)) text.remove_prefix(affix.size());
  if (!is_prefix && EndsWith(text, affix)) text.remove_suffix(affix.size());
  return MakeText(runtime, Text(text), self.is_markup());
}

// -1: text on the left; 0: in the middle; 1: on the right.
template <int side>
Value JustifyMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "center", arguments, {"width", "fillchar"}, 1);
  const Text fill = bound.String(1, U" "), text(self.AsText());
  if (fill.size() != 1) return runtime.Fail("center: wants one character to fill with");
  const int64_t width = bound.Int(0, 0),
                missing = std::max<int64_t>(width - static_cast<int64_t>(text.size()), 0);
  if (!runtime.Room(missing)) return Value();
  const int64_t left = side < 0 ? 0 : side > 0 ? missing : missing / 2 + (missing & width & 1);
  return MakeText(runtime, Text(left, fill[0]) + text + Text(missing - left, fill[0]), self.is_markup());
}

Value ZfillMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "zfill", arguments, {"width"}, 1);
  const TextView text = self.AsText();
  const int64_t missing = std::max<int64_t>(bound.Int(0, 0) - static_cast<int64_t>(text.size()), 0);
  if (!runtime.Room(missing)) return Value();
  const size_t sign = !text.empty() && (Bare(text[0]) == '+' || Bare(text[0]) == '-') ? 1 : 0;
  return MakeText(runtime, Text(text.substr(0, sign)) + Text(missing, U'0') + Text(text.substr(sign)),
                  self.is_markup());
}

Value FormatMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  return FormatBraces(runtime, self.AsText(), arguments);
}

constexpr Method kStringMethods[] = {
    {"capitalize", MapMethod<Capitalize>},
    {"casefold", nullptr},
    {"center", JustifyMethod<0>},
    {"count", CountMethod},
    {"encode", nullptr},
    {"endswith", AffixMethod<EndsWith>},
    {"expandtabs", nullptr},
    {"find", FindMethod<false, false>},
    {"format", FormatMethod},
    {"format_map", nullptr},
    {"index", FindMethod<false, true>},
    {"isalnum", AllMethod<IsAlphaNumeric>},
    {"isalpha", AllMethod<IsAlpha>},
    {"isascii", AllMethod<IsAscii>},
    {"isdecimal", AllMethod<IsDecimal>},
    {"isdigit", AllMethod<IsDigit>},
    {"isidentifier", nullptr},
    {"islower", CaseMethod<IsLowerText>},
    {"isnumeric", AllMethod<IsNumeric>},
    {"isprintable", nullptr},
    {"isspace", AllMethod<IsSpace>},
    {"istitle", nullptr},
    {"isupper", CaseMethod<IsUpperText>},
    {"join", JoinMethod},
    {"ljust", JustifyMethod<-1>},
    {"lower", MapMethod<Lower>},
    {"lstrip", StripMethod<Ends::kLeft>},
    {"maketrans", nullptr},
    {"partition", PartitionMethod<false>},
    {"removeprefix", RemoveMethod<true>},
    {"removesuffix", RemoveMethod<false>},
    {"replace", ReplaceMethod},
    {"rfind", FindMethod<true, false>},
    {"rindex", FindMethod<true, true>},
    {"rjust", JustifyMethod<1>},
    {"rpartition", PartitionMethod<true>},
    {"rsplit", SplitMethod<true>},
    {"rstrip", StripMethod<Ends::kRight>},
    {"split", SplitMethod<false>},
    {"splitlines", SplitLinesMethod},
    {"startswith", AffixMethod<StartsWith>},
    {"strip", StripMethod<Ends::kBoth>},
    {"swapcase", MapMethod<SwapCase>},
    {"title", MapMethod<Title>},
    {"translate", nullptr},
    {"upper", MapMethod<Upper>},
    {"zfill", ZfillMethod},
};

template <Sequence::Kind kind>
Value ViewMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "items", arguments, {});
  std::vector<Value> items;
  for (const auto& [key, value] : self.AsDict().items) {
    if (kind == Sequence::Kind::kItems) {
      items.push_back(MakeList(runtime, {key, value}, Sequence::Kind::kTuple));
    } else {
      items.push_back(kind == Sequence::Kind::kKeys ? key : value);
    }
  }
  return MakeList(runtime, std::move(items), kind);
}

Value GetMethodOfDict(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "get", arguments, {"key", "default"}, 1);
  if (!bound[0].is_hashable())
    return runtime.Fail(absl::StrCat("get: ", TypeName(bound[0]), " is no key of a dict"));
  const Value* found = FindKey(runtime, self.AsDict(), bound[0]);
  return found != nullptr ? *found : bound.Or(1, None());
}

Value CopyMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "copy", arguments, {});
  return self;
}

constexpr Method kDictMethods[] = {
    {"copy", CopyMethod},
    {"fromkeys", nullptr},
    {"get", GetMethodOfDict},
    {"items", ViewMethod<Sequence::Kind::kItems>},
    {"keys", ViewMethod<Sequence::Kind::kKeys>},
    {"values", ViewMethod<Sequence::Kind::kValues>},
};
constexpr std::string_view kUnsafeOfDict[] = {"clear", "pop", "popitem", "setdefault", "update"};

Value IndexMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "index", arguments, {"value"}, 1);
  const std::vector<Value>& items = self.AsSequence().items;
  for (size_t i = 0; i < items.size(); ++i) {
    if (IsEqual(runtime, items[i], bound[0])) return static_cast<int64_t>(i);
  }
  return runtime.Fail("index: the value is not there");
}

Value CountItemsMethod(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const Bound bound(runtime, "count", arguments, {"value"}, 1);
  const std::vector<Value>& items = self.AsSequence().items;
  return static_cast<int64_t>(
      std::ranges::count_if(items, [&](const Value& item) { return IsEqual(runtime, item, bound[0]); }));
}

constexpr Method kListMethods[] = {{"copy", CopyMethod}, {"count", CountItemsMethod}, {"index", IndexMethod}};
constexpr std::string_view kUnsafeOfList[] = {"append", "clear",  "extend",  "insert",
                                              "pop",    "remove", "reverse", "sort"};

template <size_t N>
bool FindIn(const Method (&methods)[N], const Value& self, TextView name, Value* value) {
  for (const Method& method : methods) {
    if (!Equal(name, method.name)) continue;
    const std::string called(method.name);
    *value = std::make_shared<const Function>(
        Function{called, [self, body = method.body, called](Runtime& runtime, const Arguments& arguments) {
                   if (!TouchTexts(runtime, self, arguments)) return Value();
                   if (body != nullptr) return body(runtime, self, arguments);
                   return runtime.Fail(absl::StrCat("the method ", called, " of ", TypeName(self),
                                                    " is none that temper knows"));
                 }});
    return true;
  }
  return false;
}

template <size_t N>
bool IsUnsafe(const std::string_view (&names)[N], const Value& self, TextView name, Value* value) {
  if (std::none_of(names, names + N, [&](std::string_view each) { return Equal(name, each); })) return false;
  *value = UnsafeAttribute(self, name);
  return true;
}

}  // namespace

bool GetMethod(Runtime& runtime, const Value& object, TextView name, Value* method) {
  if (object.is_string()) return FindIn(kStringMethods, object, name, method);
  if (object.is_dict()) {
    return FindIn(kDictMethods, object, name, method) || IsUnsafe(kUnsafeOfDict, object, name, method);
  }
  if (!object.is_sequence() || object.AsSequence().kind > Sequence::Kind::kTuple) return false;
  if (object.AsSequence().kind == Sequence::Kind::kList) {
    return FindIn(kListMethods, object, name, method) || IsUnsafe(kUnsafeOfList, object, name, method);
  }
  return !Equal(name, "copy") && FindIn(kListMethods, object, name, method);
}

}  // namespace temper::jinja
