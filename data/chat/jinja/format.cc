// SPDX-License-Identifier: Apache-2.0
#include "data/chat/jinja/format.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "data/chat/jinja/operators.h"

namespace temper::jinja {
namespace {

bool AppendRepr(Runtime& runtime, const Value& value, Text& text) {
  const Text repr = Repr(runtime, value);
  text += repr;
  return runtime.Room(repr.size());
}

Text ReprOfSequence(Runtime& runtime, const Sequence& sequence) {
  static constexpr const char* kOpen[] = {"[", "(", "range(", "dict_keys([", "dict_values([", "dict_items(["};
  static constexpr const char* kClose[] = {"]", ")", ")", "])", "])", "])"};
  if (!sequence.has_size()) return U"<generator object>";
  const auto kind = static_cast<int>(sequence.kind);
  if (sequence.kind == Sequence::Kind::kRange) {
    if (sequence.items.empty()) return U"range(0, 0)";
    const int64_t first = sequence.items[0].AsInt(), last = sequence.items.back().AsInt();
    const int64_t step = sequence.items.size() > 1 ? sequence.items[1].AsInt() - first : 1;
    return AsciiText(
        absl::StrCat("range(", first, ", ", last + step, step == 1 ? "" : absl::StrCat(", ", step), ")"));
  }
  Text text = AsciiText(kOpen[kind]);
  for (size_t i = 0; i < sequence.items.size(); ++i) {
    if (i > 0) text += U", ";
    if (!AppendRepr(runtime, sequence.items[i], text)) return Text();
  }
  if (sequence.kind == Sequence::Kind::kTuple && sequence.items.size() == 1) text += U",";
  return text + AsciiText(kClose[kind]);
}

Text ReprOfDict(Runtime& runtime, const Dict& dict) {
  Text text = U"{";
  for (size_t i = 0; i < dict.items.size(); ++i) {
    if (i > 0) text += U", ";
    if (!AppendRepr(runtime, dict.items[i].first, text)) return Text();
    text += U": ";
    if (!AppendRepr(runtime, dict.items[i].second, text)) return Text();
  }
  return text + U"}";
}

class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style) {}

  void Write(const Value& value) {
    if (!runtime_.Step() || !runtime_.Room(8)) return;
    if (value.is_none()) return Append(U"null");
    if (value.is_bool()) return Append(value.AsBool() ? U"true" : U"false");
    if (value.is_integral()) return Append(AsciiText(absl::StrCat(value.AsInt())));
    if (value.is_float()) return Append(OfFloat(value.AsDouble()));
    if (value.is_string()) return Append(JsonQuote(value.AsText(), style_.is_ascii));
    if (value.is_dict()) return WriteDict(value.AsDict());
    if (value.is_sequence() && value.AsSequence().kind <= Sequence::Kind::kTuple) {
      return WriteList(value.AsSequence());
    }
    runtime_.Fail(absl::StrCat("tojson: JSON has no form of ", TypeName(value)));
  }

  Text text;

 private:
  void Append(TextView part) {
    if (runtime_.Room(part.size())) text += part;
  }

  static Text OfFloat(double value) {
    if (std::isnan(value)) return U"NaN";
    if (std::isinf(value)) return value > 0 ? U"Infinity" : U"-Infinity";
    return AsciiText(FloatRepr(value));
  }

  void NewLine() {
    if (!style_.has_indent) return;
    Append(U"\n");
    for (int i = 0; i < level_; ++i) Append(style_.indent);
  }

  // What stands between the brackets: `write(i)` for each of `count` elements.
  template <class F>
  void WriteElements(TextView brackets, size_t count, const F& write) {
    Append(brackets.substr(0, 1));
    ++level_;
    for (size_t i = 0; i < count && !runtime_.failed(); ++i) {
      if (i > 0) Append(style_.item_separator);
      NewLine();
      write(i);
    }
    --level_;
    if (count > 0) NewLine();
    Append(brackets.substr(1));
  }

  void WriteList(const Sequence& list) {
    WriteElements(U"[]", list.items.size(), [&](size_t i) { Write(list.items[i]); });
  }

  void WriteDict(const Dict& dict) {
    std::vector<const std::pair<Value, Value>*> items;
    for (const auto& item : dict.items) items.push_back(&item);
    if (style_.sort_keys) {
      std::ranges::stable_sort(
          items, [&](const auto* a, const auto* b) { return Order(runtime_, a->first, b->first) < 0; });
    }
    WriteElements(U"{}", items.size(), [&](size_t i) {
      WriteKey(items[i]->first);
      Append(style_.key_separator);
      Write(items[i]->second);
    });
  }

  void WriteKey(const Value& key) {
    if (key.is_string()) return Write(key);
    if (!key.is_number() && !key.is_none()) {
      runtime_.Fail(absl::StrCat("tojson: ", TypeName(key), " is no key of an object"));
      return;
    }
    Append(U"\"");
    Write(key);
    Append(U"\"");
  }

  Runtime& runtime_;
  const JsonStyle& style_;
  int level_ = 0;
};

}  // namespace

std::string FloatRepr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string_view scientific(buffer, end - buffer);
  const size_t e = scientific.find('e');
  int exponent = 0;
  const size_t digits_at = e + (scientific[e + 1] == '+' ? 2 : 1);
  std::from_chars(scientific.data() + digits_at, scientific.data() + scientific.size(), exponent);
  if (exponent < -4 || exponent >= 16) return std::string(scientific);
  const auto fixed = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed).ptr;
  std::string text(buffer, fixed - buffer);
  return text.find('.') == std::string::npos ? text + ".0" : text;
}

Text Repr(Runtime& runtime, const Value& value) {
  if (value.is_undefined()) return U"Undefined";
  if (value.is_none()) return U"None";
  if (value.is_bool()) return value.AsBool() ? U"True" : U"False";
  if (value.is_integral()) return AsciiText(absl::StrCat(value.AsInt()));
  if (value.is_float()) return AsciiText(FloatRepr(value.AsDouble()));
  if (value.is_string()) {
    const Text quoted = Quote(value.AsText());
    if (!runtime.Room(quoted.size())) return Text();
    return value.is_markup() ? U"Markup(" + quoted + U")" : quoted;
  }
  if (value.is_sequence()) return ReprOfSequence(runtime, value.AsSequence());
  if (value.is_dict()) return ReprOfDict(runtime, value.AsDict());
  if (const Function* function = value.AsFunction()) return AsciiText("<function " + function->name + ">");
  return AsciiText("<" + value.AsObject()->type() + ">");
}

Text ToJson(Runtime& runtime, const Value& value, const JsonStyle& style) {
  JsonWriter writer(runtime, style);
  writer.Write(value);
  return runtime.failed() ? Text() : std::move(writer.text);
}

}  // namespace temper::jinja
