// SPDX-License-Identifier: Apache-2.0
// Python's str for templates: code points, each of which may carry a mark that says it came from a
// conversation. The mark lies in the character, so that slicing, splitting, joining and replacing keep it
// with no further care; all comparisons and classifications look past it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace temper::jinja {

using Text = std::u32string;
using TextView = std::u32string_view;

inline constexpr char32_t kMark = 0x80000000;
inline char32_t Bare(char32_t c) { return c & ~kMark; }

Text FromUtf8(std::string_view utf8, bool marked = false);  // of valid UTF-8
inline Text AsciiText(std::string_view ascii) { return Text(ascii.begin(), ascii.end()); }
std::string ToUtf8(TextView text);

int Compare(TextView a, TextView b);  // <0, 0, >0 by code point
bool Equal(TextView a, TextView b);
bool Equal(TextView a, std::string_view ascii);
size_t Find(TextView text, TextView needle, size_t from = 0);  // npos: nowhere
size_t FindLast(TextView text, TextView needle);
bool StartsWith(TextView text, TextView prefix);
bool EndsWith(TextView text, TextView suffix);

// What Python's str.isspace, isprintable, ... say of a character.
bool IsSpace(char32_t c);
bool IsPrintable(char32_t c);
bool IsAlpha(char32_t c);
bool IsDecimal(char32_t c);
bool IsDigit(char32_t c);
bool IsNumeric(char32_t c);
bool IsLower(char32_t c);
bool IsUpper(char32_t c);
bool IsTitle(char32_t c);
bool IsInName(char32_t c, bool is_first);  // of an identifier
bool IsLowerText(TextView text);           // has such a letter, and none of the other case
bool IsUpperText(TextView text);

enum class Ends { kBoth, kLeft, kRight };
TextView Strip(TextView text, Ends ends);                  // white space
TextView Strip(TextView text, TextView chars, Ends ends);  // any of chars

// As str.split and rsplit; limit < 0: none. SplitSpace splits at runs of white space.
std::vector<TextView> Split(TextView text, TextView separator, int64_t limit);
std::vector<TextView> SplitLast(TextView text, TextView separator, int64_t limit);
std::vector<TextView> SplitSpace(TextView text, int64_t limit, bool from_end);
std::vector<TextView> SplitLines(TextView text, bool keep_ends = false);
Text Replace(TextView text, TextView from, TextView to, int64_t limit);
size_t Count(TextView text, TextView needle);  // that do not overlap

// Unicode's full case mappings; a character's mark stays with what becomes of it.
Text Upper(TextView text);
Text Lower(TextView text);
Text Title(TextView text);  // the first of each run of letters in title case, the rest in lower
Text Capitalize(TextView text);
Text SwapCase(TextView text);

Text Quote(TextView text);                     // Python's repr
Text EscapeHtml(TextView text);                // as MarkupSafe does
Text JsonQuote(TextView text, bool is_ascii);  // as json.dumps does

}  // namespace temper::jinja
