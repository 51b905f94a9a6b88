// SPDX-License-Identifier: Apache-2.0
#include "data/chat/jinja/text.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "unicode/uchar.h"
#include "unicode/ustring.h"
#include "unicode/utf8.h"

namespace temper::jinja {
namespace {

bool SameCharacter(char32_t a, char32_t b) { return Bare(a) == Bare(b); }

void AppendAscii(Text& text, std::string_view ascii, char32_t mark) {
  for (const char c : ascii) text.push_back(static_cast<char32_t>(c) | mark);
}

using CaseMapping = int32_t (*)(UChar*, int32_t, const UChar*, int32_t, UErrorCode*);

int32_t ToUpper(UChar* to, int32_t room, const UChar* from, int32_t size, UErrorCode* error) {
  return u_strToUpper(to, room, from, size, "", error);
}
int32_t ToLower(UChar* to, int32_t room, const UChar* from, int32_t size, UErrorCode* error) {
  return u_strToLower(to, room, from, size, "", error);
}
int32_t ToTitle(UChar* to, int32_t room, const UChar* from, int32_t size, UErrorCode* error) {
  return u_strToTitle(to, room, from, size, nullptr, "", error);
}

void AppendMapped(Text& text, char32_t c, CaseMapping mapping) {
  if (Bare(c) < 0x80) {  // as the mappings say, and far sooner
    const char ascii = static_cast<char>(Bare(c));
    const char mapped = mapping == ToLower ? absl::ascii_tolower(ascii) : absl::ascii_toupper(ascii);
    return text.push_back(static_cast<char32_t>(mapped) | (c & kMark));
  }
  UChar from[2], to[16];
  int32_t size = 0, mapped_size = 0;
  UErrorCode error = U_ZERO_ERROR;
  U16_APPEND_UNSAFE(from, size, static_cast<UChar32>(Bare(c)));
  mapped_size = mapping(to, 16, from, size, &error);
  if (U_FAILURE(error)) {
    text.push_back(c);
    return;
  }
  for (int32_t at = 0; at < mapped_size;) {
    UChar32 mapped = 0;
    U16_NEXT(to, at, mapped_size, mapped);
    text.push_back(static_cast<char32_t>(mapped) | (c & kMark));
  }
}

bool IsCased(char32_t c) { return u_hasBinaryProperty(static_cast<UChar32>(Bare(c)), UCHAR_CASED); }
bool IsCaseIgnorable(char32_t c) {
  return u_hasBinaryProperty(static_cast<UChar32>(Bare(c)), UCHAR_CASE_IGNORABLE);
}

// A capital sigma at the end of a word, which becomes a final one (Unicode 3.13, Final_Sigma).
bool IsFinalSigma(TextView text, size_t at) {
  if (Bare(text[at]) != 0x3A3) return false;
  size_t before = at, after = at + 1;
  while (before > 0 && IsCaseIgnorable(text[before - 1])) --before;
  while (after < text.size() && IsCaseIgnorable(text[after])) ++after;
  return before > 0 && IsCased(text[before - 1]) && !(after < text.size() && IsCased(text[after]));
}

void AppendLower(Text& text, TextView from, size_t at) {
  if (IsFinalSigma(from, at)) {
    text.push_back(0x3C2 | (from[at] & kMark));
  } else {
    AppendMapped(text, from[at], ToLower);
  }
}

bool IsLineEnd(char32_t c) {
  c = Bare(c);
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool HasCategory(char32_t c, uint32_t mask) {
  return (U_GET_GC_MASK(static_cast<UChar32>(Bare(c))) & mask) != 0;
}

int NumericType(char32_t c) {
  return u_getIntPropertyValue(static_cast<UChar32>(Bare(c)), UCHAR_NUMERIC_TYPE);
}

void AppendUnicodeEscape(Text& text, char32_t c, char32_t mark) {
  if (c > 0xFFFF) {
    AppendAscii(text, absl::StrFormat("\\u%04x\\u%04x", U16_LEAD(c), U16_TRAIL(c)), mark);
  } else {
    AppendAscii(text, absl::StrFormat("\\u%04x", static_cast<uint32_t>(c)), mark);
  }
}

}  // namespace

Text FromUtf8(std::string_view utf8, bool marked) {
  Text text;
  text.reserve(utf8.size());
  const char32_t mark = marked ? kMark : 0;
  const auto size = static_cast<int64_t>(utf8.size());
  for (int64_t at = 0; at < size;) {
    UChar32 c = 0;
    U8_NEXT_OR_FFFD(utf8.data(), at, size, c);
    text.push_back(static_cast<char32_t>(c) | mark);
  }
  return text;
}

std::string ToUtf8(TextView text) {
  std::string utf8;
  utf8.reserve(text.size());
  for (const char32_t marked : text) {
    const char32_t c = Bare(marked);
    char bytes[4];
    int32_t size = 0;
    U8_APPEND_UNSAFE(bytes, size, static_cast<UChar32>(c));
    utf8.append(bytes, size);
  }
  return utf8;
}

int Compare(TextView a, TextView b) {
  const size_t size = std::min(a.size(), b.size());
  for (size_t i = 0; i < size; ++i) {
    if (!SameCharacter(a[i], b[i])) return Bare(a[i]) < Bare(b[i]) ? -1 : 1;
  }
  return a.size() == b.size() ? 0 : a.size() < b.size() ? -1 : 1;
}

bool Equal(TextView a, TextView b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), SameCharacter);
}

bool Equal(TextView a, std::string_view ascii) {
  return a.size() == ascii.size() && std::equal(a.begin(), a.end(), ascii.begin(), [](char32_t c, char byte) {
           return Bare(c) == static_cast<unsigned char>(byte);
         });
}

namespace {

// Where the needle is first, both read from the same end (Knuth, Morris and Pratt): templates are not
// trusted, and the plain search may take the product of both sizes.
template <class Text, class Needle>
size_t Search(size_t size, const Text& text, size_t needle_size, const Needle& needle) {
  std::vector<uint32_t> kept(needle_size,
                             0);  // of so many characters that fit, how many still do after the next
  for (size_t i = 1, fit = 0; i < needle_size; ++i) {
    while (fit > 0 && !SameCharacter(needle(i), needle(fit))) fit = kept[fit - 1];
    if (SameCharacter(needle(i), needle(fit))) ++fit;
    kept[i] = static_cast<uint32_t>(fit);
  }
  for (size_t i = 0, fit = 0; i < size; ++i) {
    while (fit > 0 && !SameCharacter(text(i), needle(fit))) fit = kept[fit - 1];
    if (SameCharacter(text(i), needle(fit))) ++fit;
    if (fit == needle_size) return i + 1 - needle_size;
  }
  return std::u32string::npos;
}

constexpr size_t kShortNeedle = 16;

}  // namespace

size_t Find(TextView text, TextView needle, size_t from) {
  if (from > text.size()) return Text::npos;
  const TextView rest = text.substr(from);
  if (needle.size() > rest.size()) return Text::npos;
  if (needle.size() > kShortNeedle) {
    const size_t found = Search(
        rest.size(), [&](size_t i) { return rest[i]; }, needle.size(), [&](size_t i) { return needle[i]; });
    return found == Text::npos ? found : from + found;
  }
  const auto found = std::search(rest.begin(), rest.end(), needle.begin(), needle.end(), SameCharacter);
  if (found == rest.end() && !needle.empty()) return Text::npos;
  return from + (found - rest.begin());
}

size_t FindLast(TextView text, TextView needle) {
  if (needle.empty()) return text.size();
  if (needle.size() > text.size()) return Text::npos;
  const size_t last = text.size() - 1, last_of_needle = needle.size() - 1;
  const size_t found = Search(
      text.size(), [&](size_t i) { return text[last - i]; }, needle.size(),
      [&](size_t i) { return needle[last_of_needle - i]; });
  return found == Text::npos ? found : text.size() - found - needle.size();
}

bool StartsWith(TextView text, TextView prefix) { return Equal(text.substr(0, prefix.size()), prefix); }
bool EndsWith(TextView text, TextView suffix) {
  return text.size() >= suffix.size() && Equal(text.substr(text.size() - suffix.size()), suffix);
}

bool IsSpace(char32_t c) {
  c = Bare(c);
  if (c < 0x80) return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20);
  return c == 0x85 || HasCategory(c, U_GC_Z_MASK);
}

bool IsPrintable(char32_t c) {
  c = Bare(c);
  return c == ' ' || !HasCategory(c, U_GC_C_MASK | U_GC_Z_MASK);
}

bool IsAlpha(char32_t c) { return HasCategory(c, U_GC_L_MASK); }
bool IsDecimal(char32_t c) { return NumericType(c) == U_NT_DECIMAL; }
bool IsDigit(char32_t c) { return NumericType(c) == U_NT_DECIMAL || NumericType(c) == U_NT_DIGIT; }
bool IsNumeric(char32_t c) { return NumericType(c) != U_NT_NONE; }
bool IsLower(char32_t c) { return u_isULowercase(static_cast<UChar32>(Bare(c))); }
bool IsUpper(char32_t c) { return u_isUUppercase(static_cast<UChar32>(Bare(c))); }
bool IsTitle(char32_t c) { return HasCategory(c, U_GC_LT_MASK); }

bool IsLowerText(TextView text) {
  return std::ranges::any_of(text, IsLower) && std::ranges::none_of(text, IsUpper) &&
         std::ranges::none_of(text, IsTitle);
}
bool IsUpperText(TextView text) {
  return std::ranges::any_of(text, IsUpper) && std::ranges::none_of(text, IsLower) &&
         std::ranges::none_of(text, IsTitle);
}

bool IsInName(char32_t c, bool is_first) {
  const UProperty property = is_first ? UCHAR_XID_START : UCHAR_XID_CONTINUE;
  return Bare(c) == '_' || u_hasBinaryProperty(static_cast<UChar32>(Bare(c)), property);
}

namespace {

template <class Predicate>
TextView StripIf(TextView text, Ends ends, const Predicate& is_stripped) {
  if (ends != Ends::kRight) {
    while (!text.empty() && is_stripped(text.front())) text.remove_prefix(1);
  }
  if (ends != Ends::kLeft) {
    while (!text.empty() && is_stripped(text.back())) text.remove_suffix(1);
  }
  return text;
}

}  // namespace

TextView Strip(TextView text, Ends ends) { return StripIf(text, ends, IsSpace); }

TextView Strip(TextView text, TextView chars, Ends ends) {
  Text sorted(chars);
  for (char32_t& c : sorted) c = Bare(c);
  std::ranges::sort(sorted);
  return StripIf(text, ends,
                 [&](char32_t c) { return std::binary_search(sorted.begin(), sorted.end(), Bare(c)); });
}

std::vector<TextView> Split(TextView text, TextView separator, int64_t limit) {
  std::vector<TextView> parts;
  size_t done = 0;
  while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
    const size_t found = Find(text, separator, done);
    if (found == Text::npos) break;
    parts.push_back(text.substr(done, found - done));
    done = found + separator.size();
  }
  parts.push_back(text.substr(done));
  return parts;
}

std::vector<TextView> SplitLast(TextView text, TextView separator, int64_t limit) {
  std::vector<TextView> parts;
  while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
    const size_t found = FindLast(text, separator);
    if (found == Text::npos) break;
    parts.push_back(text.substr(found + separator.size()));
    text = text.substr(0, found);
  }
  parts.push_back(text);
  std::ranges::reverse(parts);
  return parts;
}

std::vector<TextView> SplitSpace(TextView text, int64_t limit, bool from_end) {
  const Ends ends = from_end ? Ends::kRight : Ends::kLeft;
  std::vector<TextView> parts;
  for (text = Strip(text, ends); !text.empty(); text = Strip(text, ends)) {
    size_t size = from_end ? std::find_if(text.rbegin(), text.rend(), IsSpace) - text.rbegin()
                           : std::find_if(text.begin(), text.end(), IsSpace) - text.begin();
    if (limit >= 0 && static_cast<int64_t>(parts.size()) == limit) size = text.size();  // the rest
    parts.push_back(from_end ? text.substr(text.size() - size) : text.substr(0, size));
    text = from_end ? text.substr(0, text.size() - size) : text.substr(size);
  }
  if (from_end) std::ranges::reverse(parts);
  return parts;
}

std::vector<TextView> SplitLines(TextView text, bool keep_ends) {
  std::vector<TextView> lines;
  while (!text.empty()) {
    const size_t size = std::ranges::find_if(text, IsLineEnd) - text.begin();
    size_t next = std::min(size + 1, text.size());
    if (next < text.size() && Bare(text[size]) == '\r' && Bare(text[next]) == '\n') ++next;
    lines.push_back(text.substr(0, keep_ends ? next : size));
    text = text.substr(next);
  }
  return lines;
}

Text Replace(TextView text, TextView from, TextView to, int64_t limit) {
  Text replaced;
  if (from.empty()) {  // before every character, and at the end
    for (size_t at = 0; at <= text.size(); ++at) {
      if (limit < 0 || static_cast<int64_t>(at) < limit) replaced += to;
      if (at < text.size()) replaced.push_back(text[at]);
    }
    return replaced;
  }
  size_t done = 0;
  for (int64_t count = 0; limit < 0 || count < limit; ++count) {
    const size_t found = Find(text, from, done);
    if (found == Text::npos) break;
    replaced += text.substr(done, found - done);
    replaced += to;
    done = found + from.size();
  }
  replaced += text.substr(done);
  return replaced;
}

size_t Count(TextView text, TextView needle) {
  if (needle.empty()) return text.size() + 1;
  size_t count = 0;
  for (size_t at = Find(text, needle); at != Text::npos; at = Find(text, needle, at + needle.size())) ++count;
  return count;
}

Text Upper(TextView text) {
  Text upper;
  for (const char32_t c : text) AppendMapped(upper, c, ToUpper);
  return upper;
}

Text Lower(TextView text) {
  Text lower;
  for (size_t at = 0; at < text.size(); ++at) AppendLower(lower, text, at);
  return lower;
}

Text Title(TextView text) {
  Text title;
  bool is_inside = false;
  for (size_t at = 0; at < text.size(); ++at) {
    if (is_inside) {
      AppendLower(title, text, at);
    } else {
      AppendMapped(title, text[at], ToTitle);
    }
    is_inside = IsCased(text[at]);
  }
  return title;
}

Text Capitalize(TextView text) {
  Text capitalized;
  for (size_t at = 0; at < text.size(); ++at) {
    if (at == 0) {
      AppendMapped(capitalized, text[at], ToTitle);
    } else {
      AppendLower(capitalized, text, at);
    }
  }
  return capitalized;
}

Text SwapCase(TextView text) {
  Text swapped;
  for (size_t at = 0; at < text.size(); ++at) {
    if (IsUpper(text[at])) {
      AppendLower(swapped, text, at);
    } else if (IsLower(text[at])) {
      AppendMapped(swapped, text[at], ToUpper);
    } else {
      swapped.push_back(text[at]);
    }
  }
  return swapped;
}

Text Quote(TextView text) {
  const auto has = [&](char32_t quote) {
    return std::ranges::any_of(text, [&](char32_t c) { return Bare(c) == quote; });
  };
  const char32_t quote = has('\'') && !has('"') ? '"' : '\'';
  Text quoted(1, quote);
  for (const char32_t marked : text) {
    const char32_t c = Bare(marked), mark = marked & kMark;
    if (c == quote || c == '\\') {
      quoted += {U'\\' | mark, marked};
    } else if (c == '\n' || c == '\r' || c == '\t') {
      quoted += {U'\\' | mark, (c == '\n' ? U'n' : c == '\r' ? U'r' : U't') | mark};
    } else if (IsPrintable(c)) {
      quoted.push_back(marked);
    } else {
      const char* format = c <= 0xFF ? "\\x%02x" : c <= 0xFFFF ? "\\u%04x" : "\\U%08x";
      char escape[16];
      snprintf(escape, sizeof escape, format, static_cast<unsigned>(c));
      AppendAscii(quoted, escape, mark);
    }
  }
  quoted.push_back(quote);
  return quoted;
}

Text EscapeHtml(TextView text) {
  Text escaped;
  for (const char32_t marked : text) {
    const char32_t c = Bare(marked);
    const char* entity = c == '&'    ? "&amp;"
                         : c == '<'  ? "&lt;"
                         : c == '>'  ? "&gt;"
                         : c == '\'' ? "&#39;"
                         : c == '"'  ? "&#34;"
                                     : nullptr;
    if (entity != nullptr) {
      AppendAscii(escaped, entity, marked & kMark);
    } else {
      escaped.push_back(marked);
    }
  }
  return escaped;
}

Text JsonQuote(TextView text, bool is_ascii) {
  Text quoted(1, U'"');
  for (const char32_t marked : text) {
    const char32_t c = Bare(marked), mark = marked & kMark;
    static constexpr std::string_view kShort = "\"\"\\\\\nn\rr\tt\ff\bb";
    size_t at = 0;
    while (at < kShort.size() && static_cast<char32_t>(kShort[at]) != c) at += 2;
    if (at < kShort.size()) {
      quoted += {U'\\' | mark, static_cast<char32_t>(kShort[at + 1]) | mark};
    } else if (c < 0x20 || (is_ascii && c > 0x7E)) {
      AppendUnicodeEscape(quoted, c, mark);
    } else {
      quoted.push_back(marked);
    }
  }
  quoted.push_back(U'"');
  return quoted;
}

}  // namespace temper::jinja
