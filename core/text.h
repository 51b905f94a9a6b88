// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace temper {

// The bytes of the UTF-8 character (RFC 3629: no overlong forms, no surrogates) that `text` starts with; 0:
// none does.
int Utf8Length(std::string_view text);

// The offset of the first byte that is not UTF-8, or npos.
size_t FirstInvalidUtf8(std::string_view text);

// For one-line messages: control characters and bytes that are not UTF-8 become \xNN, and what is longer than
// `limit` bytes is cut with "...".
std::string Printable(std::string_view text, size_t limit = 200);

// The text with \uXXXX in place of each character from U+007F on that is not seen but obeyed (escapes up to
// U+009F, line ends of Unicode, marks of direction). Of JSON it is the same value.
std::string EscapeCommands(std::string_view text);

// The only candidate that begins with the word (3 bytes or more); else the one of the least edit distance
// (Damerau's, with swaps), at most a third of the word's length or 1, the first of equals; else empty.
std::string Nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace temper
