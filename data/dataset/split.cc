// SPDX-License-Identifier: Apache-2.0
#include "data/dataset/split.h"

#include <string>

#include "core/check.h"
#include "core/random.h"
#include "unicode/normalizer2.h"
#include "unicode/uchar.h"
#include "unicode/unistr.h"

namespace temper {
namespace {

// Signs make sums: "1-2" is not "12". Typesetting has several characters for one sign; `$` and `\` are
// LaTeX's. 0: says nothing.
UChar32 Meaning(UChar32 c) {
  constexpr UChar32 kMinus = 0x2212, kDivisionSlash = 0x2215, kFractionSlash = 0x2044, kTimes = 0xD7,
                    kAsterisk = 0x2217, kDot = 0x22C5;
  if (c == kMinus || u_charType(c) == U_DASH_PUNCTUATION) return '-';
  if (c == kDivisionSlash || c == kFractionSlash || c == '/') return '/';
  if (c == kTimes || c == kAsterisk || c == kDot || c == '*') return '*';
  return u_isUWhiteSpace(c) || u_ispunct(c) || u_iscntrl(c) || c == '$' ? 0 : c;
}

}  // namespace

uint64_t ContentKey(std::string_view problem) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* const fold = icu::Normalizer2::getNFKCCasefoldInstance(error);
  TEMPER_CHECK(U_SUCCESS(error), "ICU has no NFKC case folding: ", u_errorName(error));
  const icu::UnicodeString text =
      icu::UnicodeString::fromUTF8({problem.data(), static_cast<int32_t>(problem.size())});
  const icu::UnicodeString folded = fold->normalize(text, error);
  const icu::UnicodeString& words = U_SUCCESS(error) ? folded : text;
  icu::UnicodeString kept;
  for (int32_t at = 0; at < words.length(); at = words.moveIndex32(at, 1)) {
    if (const UChar32 c = Meaning(words.char32At(at)); c != 0) kept.append(c);
  }
  std::string key;
  kept.toUTF8String(key);
  return RandomKey(0, "content", 0, key);
}

Split SplitOf(uint64_t content_key, double held_out_share) {
  const double place = static_cast<double>(content_key >> 11) * 0x1p-53;
  return place < held_out_share ? Split::kHeldOut : Split::kTrain;
}

}  // namespace temper
