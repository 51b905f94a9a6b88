// SPDX-License-Identifier: Apache-2.0
// GPT-2's byte alphabet: a printable character for each byte, so that vocabularies of bytes are text.
#pragma once

#include <string>
#include <string_view>

namespace temper {

std::string ToByteLevel(std::string_view bytes);
// Appends the bytes that a token of the alphabet's characters stands for; false: it has another character,
// and nothing was appended.
bool AppendFromByteLevel(std::string_view token, std::string& bytes);

// UTF-8 as it is; each maximal part of a broken character (Unicode 15, table 3-8) becomes one U+FFFD.
std::string LossyUtf8(std::string_view bytes);
// How many bytes at the end could begin a character whose other bytes are still to come: 0 to 3.
size_t UnfinishedUtf8(std::string_view bytes);

}  // namespace temper
