// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer/normalizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/text.h"
#include "data/tokenizer/byte_level.h"
#include "data/tokenizer/unicode.h"
#include "unicode/bytestream.h"
#include "unicode/stringpiece.h"
#include "unicode/uchar.h"
#include "unicode/uniset.h"

namespace temper {
namespace {

// What a text may become. NFKC makes at most 18 characters of one; ICU and Oniguruma count in ints.
size_t LimitOf(size_t bytes) { return std::min((size_t{1} << 20) + 64 * bytes, size_t{1} << 30); }

absl::Status TooLong(size_t bytes) {
  return absl::InvalidArgumentError(absl::StrCat("the normalizer of tokenizer.json makes more than ",
                                                 LimitOf(bytes), " bytes of a text of ", bytes));
}

using Form = const icu::Normalizer2* (*)(UErrorCode&);

// One of ICU's forms, for the characters of Unicode 9.0.
const icu::Normalizer2* OldForm(Form form) {
  UErrorCode error = U_ZERO_ERROR;
  static const icu::UnicodeSet* const old = [&] {
    auto* set = new icu::UnicodeSet(UNICODE_STRING_SIMPLE("[:age=9.0:]"), error);
    set->freeze();
    return set;
  }();
  const icu::Normalizer2* whole = form(error);
  TEMPER_CHECK(U_SUCCESS(error), "ICU: ", u_errorName(error));
  return new icu::FilteredNormalizer2(*whole, *old);
}

// Null: there is no such form. They live as long as the process.
const icu::Normalizer2* FormNamed(std::string_view name) {
  static const std::pair<std::string_view, const icu::Normalizer2*> forms[] = {
      {"NFC", OldForm(&icu::Normalizer2::getNFCInstance)},
      {"NFD", OldForm(&icu::Normalizer2::getNFDInstance)},
      {"NFKC", OldForm(&icu::Normalizer2::getNFKCInstance)},
      {"NFKD", OldForm(&icu::Normalizer2::getNFKDInstance)}};
  for (const auto& [each, form] : forms) {
    if (each == name) return form;
  }
  return nullptr;
}

bool IsAscii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

absl::StatusOr<std::string> ApplyForm(const icu::Normalizer2& form, std::string_view text) {
  std::string result;
  icu::StringByteSink<std::string> sink(&result, static_cast<int32_t>(text.size()));
  UErrorCode error = U_ZERO_ERROR;
  form.normalizeUTF8(0, icu::StringPiece(text.data(), static_cast<int32_t>(text.size())), sink, nullptr,
                     error);
  if (U_FAILURE(error)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a text of ", text.size(), " bytes: ", u_errorName(error)));
  }
  return result;
}

// `map` gives the character to put in another's place; negative: none. Whether the first one stayed.
template <class Map>
bool MapCharacters(std::string& text, Map map) {
  std::string mapped;
  mapped.reserve(text.size());
  bool keeps_first = true;
  for (size_t at = 0; at < text.size();) {
    const bool first = at == 0;
    const UChar32 c = map(NextCharacter(text, at));
    if (c >= 0) AppendCharacter(c, mapped);
    if (first && c < 0) keeps_first = false;
  }
  text = std::move(mapped);
  return keeps_first;
}

// Character by character, as Rust has it: only U+0130 becomes two.
void Lowercase(std::string& text) {
  std::string lower;
  lower.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const UChar32 c = NextCharacter(text, at);
    AppendCharacter(c == 0x130 ? 'i' : u_tolower(c), lower);
    if (c == 0x130) AppendCharacter(0x307, lower);
  }
  text = std::move(lower);
}

// SentencePiece's nmt rules: control characters go, several others become a space.
UChar32 Nmt(UChar32 c) {
  if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F)
    return -1;
  const bool space = c == 0x9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                     (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                     c == 0xFEFF || c == 0xFFFD;
  return space ? ' ' : c;
}

}  // namespace

absl::StatusOr<Normalizer> Normalizer::Parse(const JsonNode& node) {
  Normalizer normalizer;
  const auto add = [&](const JsonNode& step) { return normalizer.Add(step); };
  TEMPER_RETURN_IF_ERROR(ForEachStep(node, "normalizers", add));
  return normalizer;
}

absl::Status Normalizer::Add(const JsonNode& node) {
  TEMPER_ASSIGN_OR_RETURN(const std::string_view type, node.GetString("type"));
  Step step;
  step.form = FormNamed(type);
  if (step.form != nullptr) {
    step.kind = Kind::kForm;
  } else if (type == "Lowercase") {
    step.kind = Kind::kLowercase;
  } else if (type == "Nmt") {
    step.kind = Kind::kNmt;
  } else if (type == "StripAccents") {
    step.kind = Kind::kStripAccents;
  } else if (type == "ByteLevel") {
    step.kind = Kind::kByteLevel;
  } else if (type == "Strip") {
    step.kind = Kind::kStrip;
    TEMPER_ASSIGN_OR_RETURN(step.left, node.GetBool("strip_left"));
    TEMPER_ASSIGN_OR_RETURN(step.right, node.GetBool("strip_right"));
  } else if (type == "Prepend") {
    step.kind = Kind::kPrepend;
    TEMPER_ASSIGN_OR_RETURN(step.content, node.GetString("prepend"));
  } else if (type == "Replace") {
    step.kind = Kind::kReplace;
    TEMPER_ASSIGN_OR_RETURN(const JsonNode pattern, node.Get("pattern"));
    TEMPER_ASSIGN_OR_RETURN(step.pattern, TextPattern::Parse(pattern));
    TEMPER_ASSIGN_OR_RETURN(step.content, node.GetString("content"));
  } else {
    return node.UnknownType(
        type,
        "NFC, NFD, NFKC, NFKD, Lowercase, Nmt, Strip, StripAccents, Prepend, Replace, ByteLevel and "
        "Sequence");
  }
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

absl::StatusOr<Normalizer::Text> Normalizer::Normalize(std::string_view text, Regex::Scratch& scratch) const {
  Text current{std::string(text)};
  for (const Step& step : steps_) {
    if (current.text.empty()) break;
    TEMPER_RETURN_IF_ERROR(Apply(step, text.size(), current, scratch));
    if (current.text.size() > LimitOf(text.size())) return TooLong(text.size());
  }
  return current;
}

absl::Status Normalizer::Apply(const Step& step, size_t bytes, Text& current, Regex::Scratch& scratch) {
  std::string& text = current.text;
  bool keeps_start = true;
  switch (step.kind) {
    case Kind::kForm:
      if (!IsAscii(text)) {
        TEMPER_ASSIGN_OR_RETURN(text, ApplyForm(*step.form, text));
      }
      break;
    case Kind::kLowercase:
      Lowercase(text);
      break;
    case Kind::kNmt:
      keeps_start = MapCharacters(text, Nmt);
      break;
    case Kind::kStripAccents:
      keeps_start = MapCharacters(text, [](UChar32 c) { return IsMark(c) ? -1 : c; });
      break;
    case Kind::kStrip: {
      const size_t begin = step.left ? SpaceAtStart(text) : 0;
      const size_t end = step.right ? std::max(SpaceAtEnd(text), begin) : text.size();
      keeps_start = begin == 0;
      text = text.substr(begin, end - begin);
      break;
    }
    case Kind::kPrepend:
      text.insert(0, step.content);
      break;
    case Kind::kReplace: {
      std::vector<Range> matches;
      TEMPER_RETURN_IF_ERROR(step.pattern.FindAll(text, scratch, matches));
      if (matches.empty()) break;
      if (matches.size() > LimitOf(bytes) / std::max<size_t>(step.content.size(), 1)) return TooLong(bytes);
      // What stands for one character has its place; what stands for more has the last one's.
      const Range first = matches.front();
      keeps_start =
          first.begin != 0 || first.end == 0 || (!step.content.empty() && first.end == CharacterLength(text));
      text = Replaced(text, matches, step.content);
      break;
    }
    case Kind::kByteLevel:
      text = ToByteLevel(text);
      break;
  }
  current.keeps_start = current.keeps_start && keeps_start;
  return absl::OkStatus();
}

}  // namespace temper
