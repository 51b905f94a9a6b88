// SPDX-License-Identifier: Apache-2.0
#include "data/split.h"

#include <string>

#include "core/check.h"
#include "core/random.h"
#include "unicode/normalizer2.h"
#include "unicode/uchar.h"
#include "unicode/unistr.h"

namespace temper {

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
    const UChar32 c = words.char32At(at);
    // Signs make sums: "1-2" is not "12".
    if (!u_isUWhiteSpace(c) && (!u_ispunct(c) || c == '-' || c == '/' || c == '*')) kept.append(c);
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
