// SPDX-License-Identifier: Apache-2.0
#include "data/chat/jinja/lexer.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "core/one_of.h"
#include "core/text.h"

namespace temper::jinja {
namespace {

// So that looking a variable up takes a bounded time (Scope::kVariablesAStep).
constexpr size_t kMaxName = 255;

// \r\n and \r become \n, and one line end at the very end goes.
std::u32string Lines(std::string_view source) {
  const Text text = FromUtf8(source);
  Text lines;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    lines.push_back(text[i] == '\r' ? U'\n' : text[i]);
  }
  if (!lines.empty() && lines.back() == '\n') lines.pop_back();
  return lines;
}

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& name) : source_(Lines(source)), name_(name) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (status_.ok() && at_ < source_.size()) Outside();
    if (!status_.ok()) return status_;
    Add(Token::Type::kEnd);
    return std::move(tokens_);
  }

 private:
  void Fail(const std::string& what) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat(name_, ":", line_, ": ", what));
  }

  Token& Add(Token::Type type) {
    tokens_.push_back({});
    tokens_.back().type = type;
    tokens_.back().line = line_;
    return tokens_.back();
  }

  bool At(TextView text, size_t ahead = 0) const {
    return TextView(source_).substr(std::min(at_ + ahead, source_.size()), text.size()) == text;
  }

  void Advance(size_t size) {
    line_ += static_cast<int>(std::count(source_.begin() + at_, source_.begin() + at_ + size, U'\n'));
    at_ += size;
  }
  void SkipSpace() {
    while (at_ < source_.size() && IsSpace(source_[at_])) Advance(1);
  }

  // Text up to the next tag, and the tag.
  void Outside() {
    size_t tag = at_;
    for (;; ++tag) {
      tag = std::min(source_.find(U'{', tag), source_.size());
      if (tag + 1 >= source_.size()) break;
      const char32_t kind = source_[tag + 1];
      if (kind == '%' || kind == '{' || kind == '#') break;
    }
    if (tag + 1 >= source_.size()) return AddText(source_.size(), 0, false);
    const char32_t kind = source_[tag + 1];
    const char32_t sign = tag + 2 < source_.size() ? source_[tag + 2] : 0;
    const bool has_sign = sign == '-' || sign == '+';
    AddText(tag, has_sign ? sign : 0, kind != '{');
    const bool is_raw = kind == '%' && RawSize("raw") > 0;
    if (is_raw) return Raw();
    Advance(has_sign ? 3 : 2);
    if (kind == '#') return Comment();
    Inside(kind == '%');
  }

  // The text before a tag: `-` takes its white space, and a tag that begins its line the indentation.
  void AddText(size_t end, char32_t sign, bool is_block) {
    TextView text = TextView(source_).substr(at_, end - at_);
    const bool begins_line = at_ == 0 || source_[at_ - 1] == '\n';
    if (sign == '-') {
      text = Strip(text, Ends::kRight);
    } else if (is_block && sign != '+') {
      const size_t line = text.rfind(U'\n') + 1;
      const bool is_indentation = std::all_of(text.begin() + line, text.end(), IsSpace);
      if (is_indentation && (line > 0 || begins_line)) text = text.substr(0, line);
    }
    if (!text.empty()) Add(Token::Type::kText).text = text;
    Advance(end - at_);
  }

  // What follows the end of a tag: `-` takes all white space, a block's end one line end.
  void AfterTag(bool strips, bool is_block) {
    if (strips) {
      SkipSpace();
    } else if (is_block && At(U"\n")) {
      Advance(1);
    }
  }

  void Comment() {
    const size_t end = source_.find(U"#}", at_);
    if (end == Text::npos) return Fail("a comment is not closed");
    const char32_t sign = end > at_ ? source_[end - 1] : 0;
    Advance(end + 2 - at_);
    if (sign != '+') AfterTag(sign == '-', true);
  }

  // How far `{%- raw -%}` (without what follows) reaches from here; 0: this is none.
  size_t RawSize(std::string_view word) const {
    size_t at = at_ + 2;
    const auto skip_space = [&] {
      while (at < source_.size() && IsSpace(source_[at])) ++at;
    };
    if (at < source_.size() && (source_[at] == '-' || source_[at] == '+')) ++at;
    skip_space();
    for (const char c : word) {
      if (at >= source_.size() || source_[at++] != static_cast<char32_t>(c)) return 0;
    }
    skip_space();
    if (at < source_.size() && (source_[at] == '-' || (word == "endraw" && source_[at] == '+'))) ++at;
    return TextView(source_).substr(std::min(at, source_.size()), 2) == U"%}" ? at + 2 - at_ : 0;
  }

  void Raw() {
    const size_t size = RawSize("raw");
    const bool strips = source_[at_ + size - 3] == '-';
    Advance(size);
    if (strips) SkipSpace();
    const size_t begin = at_;
    for (size_t end = source_.find(U"{%", at_); end != Text::npos; end = source_.find(U"{%", end + 1)) {
      at_ = end;
      const size_t end_size = RawSize("endraw");
      at_ = begin;
      if (end_size == 0) continue;
      const char32_t sign = source_[end + 2], last = source_[end + end_size - 3];
      AddText(end, sign == '-' || sign == '+' ? sign : 0, true);
      Advance(end_size);
      if (last != '+') AfterTag(last == '-', true);
      return;
    }
    Fail("a raw block is not closed");
  }

  void Inside(bool is_block) {
    Add(is_block ? Token::Type::kBlockBegin : Token::Type::kOutputBegin);
    const TextView end = is_block ? U"%}" : U"}}";
    std::string open;
    while (status_.ok()) {
      SkipSpace();
      if (at_ >= source_.size()) return Fail(is_block ? "a {% is not closed" : "a {{ is not closed");
      const bool is_signed = At(U"-") || (is_block && At(U"+"));
      if (open.empty() && (At(end) || (is_signed && At(end, 1)))) {
        const char32_t sign = source_[at_];
        Add(is_block ? Token::Type::kBlockEnd : Token::Type::kOutputEnd);
        Advance(is_signed ? 3 : 2);
        if (sign != '+') AfterTag(sign == '-', is_block);
        return;
      }
      if (!Number() && !Name() && !Quoted()) Sign(open);
    }
  }

  // Digits with single _ between them, from `at`; where they end.
  template <class F>
  size_t Digits(size_t at, const F& is_digit) const {
    const size_t begin = at;
    while (at < source_.size()) {
      if (is_digit(source_[at])) {
        ++at;
      } else if (at > begin && source_[at] == '_' && at + 1 < source_.size() && is_digit(source_[at + 1])) {
        ++at;
      } else {
        break;
      }
    }
    return at;
  }

  static bool IsAsciiDigit(char32_t c) { return c >= '0' && c <= '9'; }

  // Where a float that begins here ends; 0: none does.
  size_t FloatEnd() const {
    if (at_ > 0 && source_[at_ - 1] == '.') return 0;
    size_t at = Digits(at_, IsAsciiDigit);
    if (at == at_) return 0;
    bool is_float = false;
    if (at < source_.size() && source_[at] == '.') {
      const size_t end = Digits(at + 1, IsAsciiDigit);
      if (end > at + 1) {
        at = end;
        is_float = true;
      }
    }
    if (at < source_.size() && (source_[at] == 'e' || source_[at] == 'E')) {
      size_t exponent = at + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) ++exponent;
      const size_t end = Digits(exponent, IsAsciiDigit);
      if (end > exponent) {
        at = end;
        is_float = true;
      }
    }
    return is_float ? at : 0;
  }

  std::string Plain(size_t begin, size_t end) const {
    std::string text = ToUtf8(TextView(source_).substr(begin, end - begin));
    std::erase(text, '_');
    return text;
  }

  bool Number() {
    if (!IsAsciiDigit(source_[at_])) return false;
    if (const size_t end = FloatEnd(); end > 0) {
      Add(Token::Type::kFloat).number = std::strtod(Plain(at_, end).c_str(), nullptr);
      Advance(end - at_);
      return true;
    }
    int base = 10;
    size_t begin = at_, end = 0;
    if (source_[at_] == '0' && at_ + 1 < source_.size()) {
      const char32_t letter = source_[at_ + 1] | 0x20;
      const int other = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
      const auto is_digit = [&](char32_t c) {
        const int value = IsAsciiDigit(c)                          ? c - '0'
                          : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                                   : 99;
        return value < other;
      };
      if (other > 0 && Digits(at_ + 2, is_digit) > at_ + 2) {
        base = other;
        begin = at_ + 2;
        end = Digits(begin, is_digit);
      } else {
        end = Digits(at_, [](char32_t c) { return c == '0'; });
      }
    } else {
      end = Digits(at_, IsAsciiDigit);
    }
    const std::string text = Plain(begin, end);
    int64_t integer = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), integer, base);
    if (read.ec != std::errc()) Fail(absl::StrCat("the number ", Printable(text, 40), " is beyond 64 bits"));
    Add(Token::Type::kInteger).integer = integer;
    Advance(end - at_);
    return true;
  }

  bool Name() {
    size_t end = at_;
    while (end < source_.size() && IsInName(source_[end], end == at_)) ++end;
    if (end == at_) return false;
    if (end - at_ > kMaxName) Fail(absl::StrCat("a name has more than ", kMaxName, " characters"));
    Add(Token::Type::kName).word = ToUtf8(TextView(source_).substr(at_, end - at_));
    Advance(end - at_);
    return true;
  }

  bool Quoted() {
    const char32_t quote = source_[at_];
    if (quote != '\'' && quote != '"') return false;
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) {
      Fail("a text in quotes is not closed");
      return true;
    }
    Text text;
    Unescape(TextView(source_).substr(at_ + 1, end - at_ - 1), text);
    Add(Token::Type::kString).text = std::move(text);
    Advance(end + 1 - at_);
    return true;
  }

  // Python's escapes; those it does not know stay as they are.
  void Unescape(TextView from, Text& text) {
    for (size_t at = 0; at < from.size(); ++at) {
      if (from[at] != '\\' || at + 1 >= from.size()) {
        text.push_back(from[at]);
        continue;
      }
      const char32_t c = from[++at];
      static constexpr TextView kFrom = U"nrtabfv\\'\"", kTo = U"\n\r\t\a\b\f\v\\'\"";
      if (const size_t known = kFrom.find(c); known != TextView::npos) {
        text.push_back(kTo[known]);
      } else if (c >= '0' && c <= '7') {
        size_t size = 1;
        while (size < 3 && at + size < from.size() && from[at + size] >= '0' && from[at + size] <= '7')
          ++size;
        AddCode(from.substr(at, size), 8, size, text);
        at += size - 1;
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const size_t size = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        AddCode(from.substr(at + 1, size), 16, size, text);
        at += size;
      } else if (c == 'N') {
        return Fail("\\N{...} in a text is none that temper knows");
      } else if (c != '\n') {
        text.push_back('\\');
        text.push_back(c);
      }
    }
  }

  void AddCode(TextView digits, int base, size_t size, Text& text) {
    const std::string ascii = ToUtf8(digits);
    uint32_t code = 0;
    const auto read = std::from_chars(ascii.data(), ascii.data() + ascii.size(), code, base);
    if (digits.size() != size || read.ec != std::errc() || read.ptr != ascii.data() + ascii.size() ||
        code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
      return Fail(absl::StrCat("a text has the escape ", Printable(ascii, 20), ", which is no character"));
    }
    text.push_back(code);
  }

  void Sign(std::string& open) {
    static constexpr std::string_view kSigns[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                  "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                  ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    for (const std::string_view sign : kSigns) {
      if (!At(Text(sign.begin(), sign.end()))) continue;
      if (IsOneOf(sign, {"(", "[", "{"})) open += sign == "(" ? ')' : sign == "[" ? ']' : '}';
      if (IsOneOf(sign, {")", "]", "}"})) {
        if (open.empty() || open.back() != sign[0])
          return Fail(absl::StrCat("unexpected ", std::string(sign)));
        open.pop_back();
      }
      Add(Token::Type::kOperator).word = sign;
      return Advance(sign.size());
    }
    Fail(absl::StrCat("unexpected ", Printable(ToUtf8(TextView(source_).substr(at_, 1)))));
  }

  const Text source_;
  const std::string& name_;
  absl::Status status_;
  size_t at_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source, const std::string& name) {
  if (const size_t bad = FirstInvalidUtf8(source); bad != std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": the template is not UTF-8: byte ", bad + 1));
  }
  return Lexer(source, name).Run();
}

}  // namespace temper::jinja
