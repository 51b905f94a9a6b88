// SPDX-License-Identifier: Apache-2.0
// Numbers as people write them: 1,234,567.89  1 000  1{,}000  1.000.000  3{,}14  .5  5.  1E-5 0.1\overline{6}
#include "absl/strings/ascii.h"
#include "rewards/math/latex/lexer.h"

namespace temper::math {
namespace {

size_t CountDigits(std::string_view text) {
  size_t count = 0;
  while (count < text.size() && absl::ascii_isdigit(text[count])) ++count;
  return count;
}

// Bytes of what parts groups of three digits; 0: nothing does.
size_t SeparatorLength(std::string_view text, bool comma) {
  for (const std::string_view separator : {"{,}", "{\\,}", "\\,", "\\;", "\\:", "\\ ", "\\!", "~"}) {
    if (text.starts_with(separator)) return separator.size();
  }
  if (text.starts_with(",\\!")) {
    const size_t digit = text.find_first_not_of(' ', 3);
    return digit == text.npos ? 0 : digit;
  }
  if (text.starts_with(" ") || (comma && text.starts_with(","))) return 1;
  return 0;
}

// 234,567 behind the first digits of 1,234,567: its bytes, digits to `digits`. All separators are the same.
size_t GroupsLength(std::string_view text, bool comma, std::string* digits) {
  const size_t length = SeparatorLength(text, comma);
  if (length == 0) return 0;
  const std::string_view separator = text.substr(0, length);
  std::string found;
  size_t at = 0;
  while (text.substr(at).starts_with(separator) && CountDigits(text.substr(at + length)) == 3) {
    found += text.substr(at + length, 3);
    at += length + 3;
  }
  // 1,000,00 is a list; so are 1 000 1/2 and the like too doubtful.
  if (text.substr(at).starts_with(separator) && CountDigits(text.substr(at + length)) > 0) return 0;
  *digits += found;
  return at;
}

// .000.000 behind the 1 of 1.000.000.
size_t PointGroupsLength(std::string_view text, std::string* digits) {
  std::string found;
  size_t at = 0;
  while (text.substr(at).starts_with(".") && CountDigits(text.substr(at + 1)) == 3) {
    found += text.substr(at + 1, 3);
    at += 4;
  }
  if (found.size() < 6 || text.substr(at).starts_with(".")) return 0;
  *digits += found;
  return at;
}

// \overline{6}, \dot{3}, and (3) where it may be `round`, behind 0.1; 0: none.
size_t RepeatingLength(std::string_view text, bool round, std::string* repeating) {
  for (const std::string_view mark :
       {"\\overline{", "\\bar{", "\\dot{", "\\overline ", "\\bar ", "\\dot ", "("}) {
    if (!text.starts_with(mark) || (mark == "(" && !round)) continue;
    const char close = mark.back() == '{' ? '}' : mark.back() == '(' ? ')' : '\0';
    const size_t count = close == '\0' ? 1 : CountDigits(text.substr(mark.size()));
    const size_t end = mark.size() + count;
    if (count == 0 || CountDigits(text.substr(mark.size())) < count) return 0;
    if (close != '\0' && (end >= text.size() || text[end] != close)) return 0;
    *repeating += text.substr(mark.size(), count);
    return end + (close != '\0');
  }
  return 0;
}

// E5, E-5, e5 (but not e-5, where e may be the constant, unless it cannot: `decimal`, 1e-05).
size_t ExponentLength(std::string_view text, bool decimal, std::string* exponent) {
  if (text.empty() || (text[0] != 'E' && text[0] != 'e')) return 0;
  const bool sign = text.size() > 1 && (text[1] == '-' || text[1] == '+');
  const size_t begin = sign ? 2 : 1;
  const size_t count = CountDigits(text.substr(begin));
  if (count == 0 || (begin + count < text.size() && absl::ascii_isalpha(text[begin + count]))) return 0;
  if (text[0] == 'e' && sign && !decimal && text[begin] != '0') return 0;
  *exponent = (sign && text[1] == '-' ? "-" : "") + std::string(text.substr(begin, count));
  return begin + count;
}

}  // namespace

void LatexLexer::LexNumber() {
  size_t at = position_;
  const auto rest = [&] { return text_.substr(at); };
  std::string& digits = token_.digits;
  const size_t whole = CountDigits(rest());
  digits = rest().substr(0, whole);
  at += whole;
  // A comma right before it makes it one of a list: 1,2,345. Inside of brackets (1,234) are two, but nobody
  // writes 000 for one of them.
  const bool zeros = rest().starts_with(",0") && CountDigits(rest().substr(1)) == 3;
  const bool comma = (group_digits || zeros) && (position_ == 0 || text_[position_ - 1] != ',');
  if (whole >= 1 && whole <= 3 && digits[0] != '0') at += GroupsLength(rest(), comma, &digits);
  if (whole >= 1 && whole <= 3 && at == position_ + whole) at += PointGroupsLength(rest(), &digits);
  const bool decimal_comma =
      at == position_ + whole &&
      ((rest().starts_with("{,}") && CountDigits(rest().substr(3)) > 0) ||
       (comma && digits == "0" && rest().starts_with(",") && CountDigits(rest().substr(1)) == 3));
  const bool point = At(at) == '.' && At(at + 1) != '.';
  if (point || decimal_comma) {
    at += point || rest()[0] == ',' ? 1 : 3;
    const size_t fraction = CountDigits(rest());
    if (fraction > 0) digits += "." + std::string(rest().substr(0, fraction));
    at += fraction;
    for (size_t more = 1; more > 0;) at += more = RepeatingLength(rest(), fraction == 0, &token_.repeating);
  }
  at += ExponentLength(rest(), exponents || digits.find('.') != digits.npos, &token_.exponent);
  Set(TokenKind::kNumber, text_.substr(position_, at - position_), at);
}

}  // namespace temper::math
