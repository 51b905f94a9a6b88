// SPDX-License-Identifier: Apache-2.0
// Characters and their classes, by ICU, where the text is UTF-8.
#pragma once

#include <string>
#include <string_view>

#include "unicode/umachine.h"

namespace temper {

// The character at `at`, which moves behind it. `at` is less than the size.
UChar32 NextCharacter(std::string_view text, size_t& at);
UChar32 LastCharacter(std::string_view text);  // which is not empty
void AppendCharacter(UChar32 c, std::string& text);
size_t CharacterLength(std::string_view text);  // bytes of the first character; text is not empty

bool IsWord(UChar32 c);     // \w as Unicode's UTS 18 has it
bool IsSpace(UChar32 c);    // White_Space
bool IsNumeral(UChar32 c);  // Nd, Nl, No
// The `tokenizers` package has these two of older versions of Unicode, and so has this.
bool IsMark(UChar32 c);         // Mn, Mc, Me of Unicode 9.0
bool IsPunctuation(UChar32 c);  // P* of Unicode 8.0, and all that ASCII prints besides letters and digits

size_t SpaceAtStart(std::string_view text);  // its bytes
size_t SpaceAtEnd(std::string_view text);    // where it begins

}  // namespace temper
