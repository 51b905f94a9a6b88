// SPDX-License-Identifier: Apache-2.0
// Jinja's filters of texts and numbers, with tojson as Transformers sets it.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "data/chat/jinja/format.h"
#include "data/chat/jinja/node.h"

namespace temper::jinja {
namespace {

template <Text (*map)(TextView)>
Value MapText(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "upper", arguments, {});
  return MakeText(runtime, map(ToText(runtime, value)), value.is_markup());
}

// As Jinja splits words: at white space and -({[<.
Text TitleWords(TextView text) {
  Text title;
  const auto is_split = [](char32_t c) {
    return IsSpace(c) || TextView(U"-({[<").find(Bare(c)) != TextView::npos;
  };
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && is_split(text[end]) == is_split(text[at])) ++end;
    title += Upper(text.substr(at, 1)) + Lower(text.substr(at + 1, end - at - 1));
    at = end;
  }
  return title;
}

Value Trim(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "trim", arguments, {"chars"});
  const Text text = ToText(runtime, value);
  const bool has_chars = bound.has(0) && !bound[0].is_none();
  const TextView trimmed =
      has_chars ? Strip(text, bound.String(0, {}), Ends::kBoth) : Strip(text, Ends::kBoth);
  return Value(Text(trimmed), value.is_markup());
}

Value ReplaceText(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "replace", arguments, {"old", "new", "count"}, 2);
  const Text text = ToText(runtime, value), from = ToText(runtime, bound[0]), to = ToText(runtime, bound[1]);
  const int64_t limit = bound.has(2) && !bound[2].is_none() ? bound.Int(2, -1) : -1;
  if (!runtime.Step(text.size() + 1)) return Value();
  const size_t count = limit < 0 ? Count(text, from) : std::min<size_t>(limit, Count(text, from));
  if (!runtime.Room(text.size() + count * to.size())) return Value();
  return Replace(text, from, to, limit);
}

Value Indent(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "indent", arguments, {"width", "first", "blank"});
  if (value.is_undefined()) return runtime.FailUndefined(value);
  if (!value.is_string()) return runtime.Fail(absl::StrCat("indent: wants a text, not ", TypeName(value)));
  const bool is_text = bound.has(0) && bound[0].is_string();
  const int64_t width = is_text ? 0 : std::max<int64_t>(bound.Int(0, 4), 0);
  if (!runtime.Room(static_cast<size_t>(width))) return Value();
  const Text indentation = is_text ? Text(bound[0].AsText()) : Text(width, U' ');
  const bool first = bound.Truth(1, false), blank = bound.Truth(2, false);
  const Text with_end = Text(value.AsText()) + U"\n";
  Text text;
  bool is_first = true;
  for (const TextView line : SplitLines(with_end)) {
    if (!is_first) text += U"\n";
    if (is_first ? first : blank || !line.empty()) text += indentation;
    is_first = false;
    text += line;
    if (!runtime.Room(line.size() + indentation.size())) return Value();
  }
  return Value(std::move(text), value.is_markup());
}

Value Truncate(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "truncate", arguments, {"length", "killwords", "end", "leeway"});
  if (!value.is_string()) return runtime.Fail(absl::StrCat("truncate: wants a text, not ", TypeName(value)));
  const int64_t length = bound.Int(0, 255),
                leeway = bound.has(3) && !bound[3].is_none() ? bound.Int(3, 5) : 5;
  const Text end = bound.String(2, U"...");
  const TextView text = value.AsText();
  const auto end_size = static_cast<int64_t>(end.size());
  if (length < end_size || leeway < 0) return runtime.Fail("truncate: the length is shorter than the end");
  if (static_cast<int64_t>(text.size()) - leeway <= length) return value;
  const TextView cut = text.substr(0, length - end_size);
  return Text(bound.Truth(1, false) ? cut : cut.substr(0, std::min(FindLast(cut, U" "), cut.size()))) + end;
}

Value Center(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "center", arguments, {"width"});
  const Text text = ToText(runtime, value);
  const int64_t width = std::max<int64_t>(bound.Int(0, 80), 0),
                missing = std::max<int64_t>(width - static_cast<int64_t>(text.size()), 0);
  if (!runtime.Room(static_cast<size_t>(missing))) return Value();
  const int64_t left = missing / 2 + (missing & width & 1);
  return Value(Text(left, U' ') + text + Text(missing - left, U' '), value.is_markup());
}

Value WordCount(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "wordcount", arguments, {});
  int64_t count = 0;
  bool is_inside = false;
  for (const char32_t c : ToText(runtime, value)) {
    const bool is_word = IsAlpha(c) || IsNumeric(c) || Bare(c) == '_';
    count += is_word && !is_inside;
    is_inside = is_word;
  }
  return count;
}

Value String(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "string", arguments, {});
  return value.is_string() ? value : Value(ToText(runtime, value));
}

Value Safe(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "safe", arguments, {});
  return Value(ToText(runtime, value), true);
}

template <bool even_markup>
Value Escape(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "escape", arguments, {});
  if (value.is_markup() && !even_markup) return value;
  return MakeText(runtime, EscapeHtml(ToText(runtime, value)), true);
}

Value Format(Runtime& runtime, const Value& value, const Arguments& arguments) {
  if (!arguments.values.empty() && !arguments.named.empty()) {
    return runtime.Fail("format: takes arguments with names or without, not both");
  }
  const Value format = value.is_string() ? value : Value(ToText(runtime, value));
  if (arguments.named.empty()) {
    return FormatPercent(runtime, format, MakeList(runtime, arguments.values, Sequence::Kind::kTuple));
  }
  std::vector<std::pair<Value, Value>> items;
  for (const auto& [name, item] : arguments.named) items.emplace_back(FromUtf8(name), item);
  return FormatPercent(runtime, format, MakeDict(runtime, std::move(items)));
}

Value ToJsonFilter(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.is_ascii = bound.Truth(0, false);
  style.sort_keys = bound.Truth(3, false);
  style.has_indent = bound.has(1) && !bound[1].is_none();
  if (style.has_indent) {
    const int64_t width = bound[1].is_string() ? 0 : std::max<int64_t>(bound.Int(1, 0), 0);
    if (!runtime.Room(static_cast<size_t>(width))) return Value();
    style.indent = bound[1].is_string() ? Text(bound[1].AsText()) : Text(width, U' ');
    style.item_separator = U",";
  }
  if (bound.has(2) && !bound[2].is_none()) {
    const std::vector<Value> separators = Unpack(runtime, bound[2], 2);
    if (!separators[0].is_string() || !separators[1].is_string())
      return runtime.Fail("tojson: separators are texts");
    style.item_separator = separators[0].AsText();
    style.key_separator = separators[1].AsText();
  }
  return ToJson(runtime, value, style);
}

// ---- numbers

Value Abs(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "abs", arguments, {});
  if (value.is_float()) return std::fabs(value.AsDouble());
  if (value.is_integral()) return value.AsInt() < 0 ? Negate(runtime, value) : Value(value.AsInt());
  return runtime.Fail(absl::StrCat("abs: wants a number, not ", TypeName(value)));
}

// Digits with single _ between them go without them; else nothing.
std::optional<std::string> PlainNumber(TextView text) {
  const std::string number = ToUtf8(Strip(text, Ends::kBoth));
  std::string plain;
  for (size_t i = 0; i < number.size(); ++i) {
    const auto is_digit = [&](size_t at) { return at < number.size() && absl::ascii_isalnum(number[at]); };
    if (number[i] == '_' && !(i > 0 && is_digit(i - 1) && is_digit(i + 1))) return std::nullopt;
    if (number[i] != '_') plain.push_back(number[i]);
  }
  return plain;
}

std::optional<double> ReadFloat(const Value& value) {
  if (value.is_number()) return value.AsDouble();
  if (!value.is_string()) return std::nullopt;
  const std::optional<std::string> plain = PlainNumber(value.AsText());
  double number = 0;
  const bool is_hexadecimal = plain && plain->find_first_of("xX") != std::string::npos;
  if (!plain || is_hexadecimal || plain->find('(') != std::string::npos ||
      !absl::SimpleAtod(*plain, &number)) {
    return std::nullopt;
  }
  return number;
}

std::optional<int64_t> ReadInt(TextView text, int64_t base) {
  std::optional<std::string> plain = PlainNumber(text);
  if (!plain || plain->empty() || base < 2 || base > 36) return std::nullopt;
  const bool is_negative = (*plain)[0] == '-';
  std::string_view digits = *plain;
  if (is_negative || digits[0] == '+') digits.remove_prefix(1);
  const char prefix = base == 16 ? 'x' : base == 8 ? 'o' : base == 2 ? 'b' : '\0';
  if (prefix != 0 && digits.size() > 2 && digits[0] == '0' && absl::ascii_tolower(digits[1]) == prefix) {
    digits.remove_prefix(2);
  }
  if (digits.empty() || !absl::ascii_isalnum(digits[0])) return std::nullopt;
  int64_t number = 0;
  const auto read =
      std::from_chars(digits.data(), digits.data() + digits.size(), number, static_cast<int>(base));
  if (read.ec != std::errc() || read.ptr != digits.data() + digits.size()) return std::nullopt;
  return is_negative ? -number : number;
}

Value Int(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "int", arguments, {"default", "base"});
  if (value.is_undefined()) return runtime.FailUndefined(value);
  if (value.is_integral()) return value.AsInt();
  if (value.is_string()) {
    if (const auto number = ReadInt(value.AsText(), bound.Int(1, 10))) return *number;
  }
  const std::optional<double> number = ReadFloat(value);
  if (!number || !(std::fabs(*number) < 9.2e18)) return bound.Or(0, int64_t{0});
  return static_cast<int64_t>(*number);
}

Value Float(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "float", arguments, {"default"});
  if (value.is_undefined()) return runtime.FailUndefined(value);
  const std::optional<double> number = ReadFloat(value);
  return number ? Value(*number) : bound.Or(0, 0.0);
}

Value Round(Runtime& runtime, const Value& value, const Arguments& arguments) {
  const Bound bound(runtime, "round", arguments, {"precision", "method"});
  if (!value.is_number()) return runtime.Fail(absl::StrCat("round: wants a number, not ", TypeName(value)));
  const Text method = bound.String(1, U"common");
  const int64_t precision = bound.Int(0, 0);
  if (precision < 0 || precision > 30) return runtime.Fail("round: the precision is 0 to 30");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (Equal(method, "ceil")) return std::ceil(value.AsDouble() * scale) / scale;
  if (Equal(method, "floor")) return std::floor(value.AsDouble() * scale) / scale;
  if (!Equal(method, "common")) return runtime.Fail("round: the method is common, ceil or floor");
  if (value.is_integral()) return value.AsInt();
  char digits[400];
  snprintf(digits, sizeof digits, "%.*f", static_cast<int>(precision), value.AsDouble());
  return std::strtod(digits, nullptr);
}

constexpr Filter kTextFilters[] = {
    {"abs", Abs},
    {"capitalize", MapText<Capitalize>},
    {"center", Center},
    {"e", Escape<false>},
    {"escape", Escape<false>},
    {"float", Float},
    {"forceescape", Escape<true>},
    {"format", Format},
    {"indent", Indent},
    {"int", Int},
    {"lower", MapText<Lower>},
    {"replace", ReplaceText},
    {"round", Round},
    {"safe", Safe},
    {"string", String},
    {"title", MapText<TitleWords>},
    {"tojson", ToJsonFilter},
    {"trim", Trim},
    {"truncate", Truncate},
    {"upper", MapText<Upper>},
    {"wordcount", WordCount},
};

}  // namespace

absl::Span<const Filter> TextFilters() { return kTextFilters; }

}  // namespace temper::jinja
