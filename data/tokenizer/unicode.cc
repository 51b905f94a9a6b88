// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer/unicode.h"

#include "core/check.h"
#include "unicode/uchar.h"
#include "unicode/uniset.h"
#include "unicode/utf8.h"

namespace temper {
namespace {

// Lives as long as the process.
const icu::UnicodeSet* Set(const icu::UnicodeString& pattern) {
  UErrorCode error = U_ZERO_ERROR;
  auto* set = new icu::UnicodeSet(pattern, error);
  TEMPER_CHECK(U_SUCCESS(error), "ICU: ", u_errorName(error));
  set->freeze();
  return set;
}

}  // namespace

UChar32 NextCharacter(std::string_view text, size_t& at) {
  UChar32 c = 0;
  U8_NEXT(text.data(), at, text.size(), c);
  return c;
}

UChar32 LastCharacter(std::string_view text) {
  auto at = static_cast<int32_t>(text.size());
  UChar32 c = 0;
  U8_PREV(text.data(), 0, at, c);
  return c;
}

void AppendCharacter(UChar32 c, std::string& text) {
  char bytes[U8_MAX_LENGTH];
  int length = 0;
  U8_APPEND_UNSAFE(bytes, length, c);
  text.append(bytes, length);
}

size_t CharacterLength(std::string_view text) {
  size_t at = 0;
  NextCharacter(text, at);
  return at;
}

bool IsWord(UChar32 c) {
  constexpr uint32_t kOther = U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK;
  return u_isUAlphabetic(c) || (U_GET_GC_MASK(c) & kOther) != 0 || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL);
}

bool IsSpace(UChar32 c) { return u_isUWhiteSpace(c); }
bool IsNumeral(UChar32 c) { return c >= 0 && (U_GET_GC_MASK(c) & U_GC_N_MASK) != 0; }

bool IsMark(UChar32 c) {
  // Until Unicode 12 and 11 the first two were marks, the last one was not.
  static const icu::UnicodeSet* const marks =
      Set(UNICODE_STRING_SIMPLE("[[[:M:]&[:age=9.0:]][\\u1CF2\\u1CF3]-[\\U000111C9]]"));
  return marks->contains(c);
}

bool IsPunctuation(UChar32 c) {
  // U+166D and U+111C9 were punctuation until Unicode 12 and 11.
  static const icu::UnicodeSet* const signs =
      Set(UNICODE_STRING_SIMPLE("[[[:P:]&[:age=8.0:]][\\u166D\\U000111C9][\\u0021-\\u007E]-[0-9A-Za-z]]"));
  return signs->contains(c);
}

size_t SpaceAtStart(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t here = at;
    if (!IsSpace(NextCharacter(text, at))) return here;
  }
  return text.size();
}

size_t SpaceAtEnd(std::string_view text) {
  auto at = static_cast<int32_t>(text.size());
  while (at > 0) {
    const int32_t here = at;
    UChar32 c = 0;
    U8_PREV(text.data(), 0, at, c);
    if (!IsSpace(c)) return here;
  }
  return 0;
}

}  // namespace temper
