// SPDX-License-Identifier: Apache-2.0
// "%5.2f" % x and "{:>5}".format(x).
#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/one_of.h"
#include "data/chat/jinja/format.h"
#include "data/chat/jinja/operators.h"

namespace temper::jinja {
namespace {

constexpr int64_t kMaxWidth = 1 << 20;
constexpr int kMaxPrecision = 100;

// What both forms know of a field: [[fill]align][sign][#][0][width][,][.precision][type].
struct Specification {
  char32_t fill = U' ', align = 0, type = 0;
  char sign = '-';  // '+', ' ' or '-'
  bool alternate = false, grouped = false;
  int64_t width = 0;
  int precision = -1;
};

// The digits of a number without its sign.
std::string Digits(const Specification& spec, const Value& value) {
  const auto type = static_cast<char>(spec.type);
  if (IsOneOf(type, "fFeEgG%") && type != 0) {
    const double number = std::fabs(value.AsDouble());
    const int precision = spec.precision < 0 ? 6 : spec.precision;
    if (type == '%') return absl::StrFormat("%.*f%%", precision, number * 100);
    char buffer[512];
    const char format[] = {'%',
                           spec.alternate ? '#' : '.',
                           spec.alternate ? '.' : '*',
                           spec.alternate ? '*' : type,
                           spec.alternate ? type : '\0',
                           '\0'};
    const int size = snprintf(buffer, sizeof buffer, format, precision, number);
    return std::string(buffer, std::min<size_t>(size, sizeof buffer - 1));
  }
  if (value.is_float()) return FloatRepr(std::fabs(value.AsDouble()));
  const int64_t number = value.AsInt();
  uint64_t magnitude = number < 0 ? -static_cast<uint64_t>(number) : number;
  if (type == 'x') return absl::StrFormat("%s%x", spec.alternate ? "0x" : "", magnitude);
  if (type == 'X') return absl::StrFormat("%s%X", spec.alternate ? "0X" : "", magnitude);
  if (type == 'o') return absl::StrFormat("%s%o", spec.alternate ? "0o" : "", magnitude);
  if (type == 'b') {
    std::string bits;
    for (; magnitude > 0 || bits.empty(); magnitude >>= 1)
      bits.insert(bits.begin(), magnitude & 1 ? '1' : '0');
    return (spec.alternate ? "0b" : "") + bits;
  }
  return absl::StrCat(magnitude);
}

void Group(std::string& digits) {
  size_t end = digits.find_first_not_of("0123456789");
  if (end == std::string::npos) end = digits.size();
  for (size_t at = end; at > 3;) digits.insert(at -= 3, 1, ',');
}

Text Pad(Runtime& runtime, Text sign, Text body, const Specification& spec, char32_t default_align) {
  const auto size = static_cast<int64_t>(sign.size() + body.size());
  const int64_t missing = std::max<int64_t>(spec.width - size, 0);
  if (!runtime.Room(static_cast<size_t>(size + missing))) return Text();
  const char32_t align = spec.align != 0 ? spec.align : default_align;
  const int64_t left = align == U'<' || align == U'=' ? 0 : align == U'^' ? missing / 2 : missing;
  Text padded(left, spec.fill);
  padded += sign;
  if (align == U'=') padded.append(missing, spec.fill);
  padded += body;
  if (align != U'=') padded.append(missing - left, spec.fill);
  return padded;
}

Text FormatNumber(Runtime& runtime, const Specification& spec, const Value& value) {
  std::string digits = Digits(spec, value);
  if (spec.grouped) Group(digits);
  const bool is_negative = value.is_float() ? std::signbit(value.AsDouble()) : value.AsInt() < 0;
  Text sign;
  if (is_negative || spec.sign != '-') sign.push_back(is_negative ? U'-' : spec.sign);
  return Pad(runtime, sign, AsciiText(digits), spec, U'>');
}

Text FormatText(Runtime& runtime, const Specification& spec, Text text) {
  if (spec.precision >= 0 && text.size() > static_cast<size_t>(spec.precision)) text.resize(spec.precision);
  return Pad(runtime, Text(), std::move(text), spec, U'<');
}

// Reads along a format.
class Reader {
 public:
  explicit Reader(TextView text) : text_(text) {}
  bool done() const { return at_ >= text_.size(); }
  char32_t Peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? Bare(text_[at_ + ahead]) : 0; }
  char32_t Next() { return done() ? 0 : text_[at_++]; }
  bool Skip(char32_t c) {
    if (done() || Peek() != c) return false;
    ++at_;
    return true;
  }
  std::optional<int64_t> Number() {
    if (Peek() < '0' || Peek() > '9') return std::nullopt;
    int64_t number = 0;
    while (Peek() >= '0' && Peek() <= '9')
      number = std::min(number * 10 + (Peek() - '0'), kMaxWidth + 1), ++at_;
    return number;
  }
  TextView Until(TextView stops) {
    const size_t begin = at_;
    while (!done() && stops.find(Peek()) == TextView::npos) ++at_;
    return text_.substr(begin, at_ - begin);
  }

 private:
  const TextView text_;
  size_t at_ = 0;
};

class PercentFormatter {
 public:
  PercentFormatter(Runtime& runtime, TextView format, const Value& arguments)
      : runtime_(runtime), reader_(format), arguments_(arguments) {
    is_tuple_ = arguments.is_sequence() && arguments.AsSequence().kind == Sequence::Kind::kTuple;
  }

  Text Format() {
    Text text;
    while (!reader_.done() && !runtime_.failed()) {
      const char32_t c = reader_.Next();
      if (Bare(c) == '%') {
        text += Field();
      } else {
        text.push_back(c);
      }
    }
    const size_t given = is_tuple_ ? arguments_.AsSequence().items.size() : arguments_.is_dict() ? used_ : 1;
    if (!runtime_.failed() && used_ < given) runtime_.Fail("%: not all arguments are used by the format");
    return text;
  }

 private:
  Value NextArgument() {
    const size_t at = used_++;
    if (is_tuple_ && at < arguments_.AsSequence().items.size()) return arguments_.AsSequence().items[at];
    if (!is_tuple_ && at == 0) return arguments_;
    return runtime_.Fail("%: the format has more fields than there are arguments");
  }

  Text Field() {
    Specification spec;
    std::optional<Value> argument;
    if (reader_.Skip(U'(')) {
      const Text key(reader_.Until(U")"));
      reader_.Skip(U')');
      if (!arguments_.is_dict()) return Bad("a format with names wants a dict");
      const Value* found = arguments_.AsDict().Find(key);
      if (found == nullptr) return Bad(absl::StrCat("there is no ", ToUtf8(key)));
      argument = *found;
    }
    bool is_zero = false;
    for (;; reader_.Next()) {
      const char32_t c = reader_.Peek();
      if (c == '-') {
        spec.align = U'<';
      } else if (c == '0') {
        is_zero = true;
      } else if (c == '+' || (c == ' ' && spec.sign != '+')) {
        spec.sign = static_cast<char>(c);
      } else if (c == '#') {
        spec.alternate = true;
      } else if (c != ' ') {
        break;
      }
    }
    spec.width = reader_.Skip(U'*') ? Star() : reader_.Number().value_or(0);
    if (reader_.Skip(U'.')) {
      const int64_t precision = reader_.Skip(U'*') ? Star() : reader_.Number().value_or(0);
      if (precision > kMaxPrecision) return Bad("the precision is too large");
      spec.precision = static_cast<int>(precision);
    }
    if (spec.width > kMaxWidth) return Bad("the width is too large");
    while (reader_.Peek() == 'l' || reader_.Peek() == 'h' || reader_.Peek() == 'L') reader_.Next();
    if (reader_.done()) return Bad("the format ends in a field");
    spec.type = Bare(reader_.Next());
    if (spec.type == '%') return U"%";
    if (!argument.has_value()) argument = NextArgument();
    if (runtime_.failed()) return Text();
    if (is_zero && spec.align == 0 && spec.type != 's' && spec.type != 'r') {
      spec.align = U'=';
      spec.fill = U'0';
    }
    return Convert(spec, *argument);
  }

  int64_t Star() {
    const Value value = NextArgument();
    return value.is_integral() ? value.AsInt() : kMaxWidth + 1;
  }

  Text Convert(Specification& spec, const Value& value) {
    if (spec.align == 0) spec.align = U'>';
    switch (spec.type) {
      case 's':
        return FormatText(runtime_, spec, ToText(runtime_, value));
      case 'r':
        return FormatText(runtime_, spec, Repr(runtime_, value));
      case 'c':
        if (value.is_string() && value.AsText().size() == 1)
          return FormatText(runtime_, spec, Text(value.AsText()));
        return Bad("%c wants one character");
      case 'd':
      case 'i':
      case 'u':
        spec.type = U'd';
        if (!value.is_number() || !(std::fabs(value.AsDouble()) < 9e18)) return Bad("%d wants a number");
        return FormatNumber(
            runtime_, spec,
            static_cast<int64_t>(value.is_float() ? std::trunc(value.AsDouble()) : value.AsInt()));
      case 'x':
      case 'X':
      case 'o':
        if (!value.is_integral()) return Bad("%x and %o want a whole number");
        return FormatNumber(runtime_, spec, value.AsInt());
      case 'f':
      case 'F':
      case 'e':
      case 'E':
      case 'g':
      case 'G':
        if (!value.is_number()) return Bad("%f wants a number");
        return FormatNumber(runtime_, spec, value.AsDouble());
      default:
        return Bad("a field has an unknown form");
    }
  }

  Text Bad(const std::string& what) {
    runtime_.Fail("%: " + what);
    return Text();
  }

  Runtime& runtime_;
  Reader reader_;
  const Value& arguments_;
  bool is_tuple_ = false;
  size_t used_ = 0;
};

class BraceFormatter {
 public:
  BraceFormatter(Runtime& runtime, const Arguments& arguments) : runtime_(runtime), arguments_(arguments) {}

  Text Format(TextView format, int level) {
    Reader reader(format);
    Text text;
    while (!reader.done() && !runtime_.failed()) {
      const char32_t c = reader.Next();
      if (Bare(c) == '}' || (Bare(c) == '{' && reader.Peek() == '{')) {
        if (!reader.Skip(Bare(c))) return Bad("a single }");
        text.push_back(c);
      } else if (Bare(c) == '{') {
        text += Field(reader, level);
      } else {
        text.push_back(c);
      }
    }
    return text;
  }

 private:
  Text Field(Reader& reader, int level) {
    const TextView name = reader.Until(U"!:}[{");
    Value value = First(name);
    while (reader.Peek() == '[') {  // what follows a ] may be an attribute again
      reader.Next();
      value = Item(value, reader.Until(U"]"));
      if (!reader.Skip(U']')) return Bad("a [ is not closed");
      value = Attributes(value, reader.Until(U"!:}[{"));
    }
    if (reader.Skip(U'!')) {
      const char32_t conversion = Bare(reader.Next());
      if (conversion != 's' && conversion != 'r') return Bad("the conversions are !s and !r");
      value = conversion == 's' ? ToText(runtime_, value) : Repr(runtime_, value);
    }
    Text specification;
    if (reader.Skip(U':')) {
      for (int depth = 0; !reader.done() && (depth > 0 || reader.Peek() != '}');) {
        depth += reader.Peek() == '{' ? 1 : reader.Peek() == '}' ? -1 : 0;
        specification.push_back(reader.Next());
      }
      if (level >= 2) return Bad("fields are nested too deep");
      specification = Format(specification, level + 1);
    }
    if (!reader.Skip(U'}')) return Bad("a { is not closed");
    return runtime_.failed() ? Text() : Convert(value, specification);
  }

  Value First(TextView name) {
    const size_t dot = name.find(U'.');
    const TextView first = name.substr(0, dot);
    Value value;
    if (first.empty() || (Bare(first[0]) >= '0' && Bare(first[0]) <= '9')) {
      (first.empty() ? counts_ : numbers_) = true;
      if (counts_ && numbers_) return runtime_.Fail("format: fields have numbers and have none");
      const size_t index = first.empty() ? next_++ : static_cast<size_t>(*Reader(first).Number());
      if (index >= arguments_.values.size())
        return runtime_.Fail("format: there is no argument of that number");
      value = arguments_.values[index];
    } else {
      const std::string key = ToUtf8(first);
      const auto found =
          std::ranges::find_if(arguments_.named, [&](const auto& each) { return each.first == key; });
      if (found == arguments_.named.end())
        return runtime_.Fail(absl::StrCat("format: there is no argument ", key));
      value = found->second;
    }
    return dot == TextView::npos ? value : Attributes(value, name.substr(dot));
  }

  Value Attributes(Value value, TextView path) {  // ".a.b"
    while (!path.empty() && !runtime_.failed()) {
      path.remove_prefix(1);
      const TextView name = path.substr(0, path.find(U'.'));
      value = GetAttribute(runtime_, value, name);
      path.remove_prefix(name.size());
    }
    return value;
  }

  Value Item(const Value& value, TextView key) {
    Reader reader(key);
    const std::optional<int64_t> index = reader.Number();
    return GetItem(runtime_, value, index.has_value() && reader.done() ? Value(*index) : Value(Text(key)));
  }

  Text Convert(const Value& value, TextView specification) {
    if (specification.empty()) return ToText(runtime_, value);
    Specification spec;
    Reader reader(specification);
    const auto is_align = [](char32_t c) { return c == '<' || c == '>' || c == '^' || c == '='; };
    if (is_align(reader.Peek(1))) spec.fill = reader.Next();
    if (is_align(reader.Peek())) spec.align = Bare(reader.Next());
    if (const char32_t c = reader.Peek(); c == '+' || c == '-' || c == ' ') {
      spec.sign = static_cast<char>(c);
      reader.Next();
    }
    spec.alternate = reader.Skip(U'#');
    if (reader.Peek() == '0' && spec.align == 0 && value.is_number()) {
      spec.fill = U'0';
      spec.align = U'=';
    }
    spec.width = reader.Number().value_or(0);
    spec.grouped = reader.Skip(U',');
    if (reader.Skip(U'.')) spec.precision = static_cast<int>(reader.Number().value_or(kMaxWidth));
    if (spec.width > kMaxWidth || spec.precision > kMaxPrecision)
      return Bad("a width or precision is too large");
    if (!reader.done()) spec.type = Bare(reader.Next());
    if (!reader.done()) return Bad("a field has an unknown form");
    return Convert(value, spec);
  }

  Text Convert(const Value& value, const Specification& spec) {
    const auto is_one_of = [&](TextView types) { return types.find(spec.type) != TextView::npos; };
    if (value.is_string() && (spec.type == 0 || spec.type == 's') && spec.align != '=') {
      return FormatText(runtime_, spec, Text(value.AsText()));
    }
    if (value.is_integral() && (spec.type == 0 ? !value.is_bool() : is_one_of(U"dxXob")) &&
        spec.precision < 0) {
      return FormatNumber(runtime_, spec, value.AsInt());
    }
    if (value.is_number() && is_one_of(U"fFeEgG%")) return FormatNumber(runtime_, spec, value.AsDouble());
    if (value.is_float() && spec.type == 0 && spec.precision < 0) return FormatNumber(runtime_, spec, value);
    return Bad(absl::StrCat("no such form of ", TypeName(value)));
  }

  Text Bad(const std::string& what) {
    runtime_.Fail("format: " + what);
    return Text();
  }

  Runtime& runtime_;
  const Arguments& arguments_;
  size_t next_ = 0;
  bool counts_ = false, numbers_ = false;  // seen {}, seen {0}
};

}  // namespace

Value FormatPercent(Runtime& runtime, const Value& format, const Value& arguments) {
  Text text = PercentFormatter(runtime, format.AsText(), arguments).Format();
  return MakeText(runtime, std::move(text));
}

Value FormatBraces(Runtime& runtime, TextView format, const Arguments& arguments) {
  Text text = BraceFormatter(runtime, arguments).Format(format, 0);
  return MakeText(runtime, std::move(text));
}

}  // namespace temper::jinja
