// SPDX-License-Identifier: Apache-2.0
#include "rewards/text/language.h"

#include <algorithm>
#include <cstdio>  // CLD2's header needs it
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cld2/public/compact_lang_det.h"
#include "core/check.h"
#include "core/json/json.h"
#include "core/text.h"
#include "rewards/completion/tags.h"
#include "rewards/completion/words.h"
#include "unicode/uchar.h"
#include "unicode/uscript.h"

namespace temper {
namespace {

// Languages of the same scripts, ISO 639-1.
struct Languages {
  std::string_view names;
  std::initializer_list<UScriptCode> scripts;
  bool shared = false;  // other languages are written in this script, too
};
constexpr bool kShared = true;
const Languages kLanguages[] = {
    {"ar fa ur", {USCRIPT_ARABIC}, kShared},
    {"bg ru uk", {USCRIPT_CYRILLIC}, kShared},
    {"bn", {USCRIPT_BENGALI}},
    {"ca cs da de en es fi fr hr hu id it nl no pl pt ro sk sv sw tr vi", {USCRIPT_LATIN}, kShared},
    {"el", {USCRIPT_GREEK}},
    {"gu", {USCRIPT_GUJARATI}},
    {"he", {USCRIPT_HEBREW}},
    {"hi mr ne", {USCRIPT_DEVANAGARI}, kShared},
    {"ja", {USCRIPT_HAN, USCRIPT_HIRAGANA, USCRIPT_KATAKANA}},
    {"kn", {USCRIPT_KANNADA}},
    {"ko", {USCRIPT_HANGUL}},
    {"ml", {USCRIPT_MALAYALAM}},
    {"pa", {USCRIPT_GURMUKHI}},
    {"sr", {USCRIPT_CYRILLIC, USCRIPT_LATIN}, kShared},
    {"ta", {USCRIPT_TAMIL}},
    {"te", {USCRIPT_TELUGU}},
    {"th", {USCRIPT_THAI}},
    {"zh", {USCRIPT_HAN}},
};

const Languages* FindLanguage(std::string_view name) {
  for (const Languages& languages : kLanguages) {
    for (std::string_view names = languages.names; !names.empty();) {
      if (TakePart(&names, ' ') == name) return &languages;
    }
  }
  return nullptr;
}

// Blanks what stands between `open` and the next `close` within `most` bytes; openings without an end stay
// words.
void Blank(std::string* text, std::string_view open, std::string_view close, size_t most) {
  for (size_t at = text->find(open); at != text->npos; at = text->find(open, at)) {
    const std::string_view window = std::string_view(*text).substr(at + open.size(), most);
    const size_t end = window.find(close);
    if (end == window.npos) {
      at += open.size();
      continue;
    }
    const size_t length = open.size() + end + close.size();
    std::fill_n(text->begin() + static_cast<int64_t>(at), length, ' ');
    at += length;
  }
}

// Blanks from `open` as long as `belongs` says.
template <class Belongs>
void BlankRun(std::string* text, std::string_view open, Belongs belongs) {
  for (size_t at = text->find(open); at != text->npos; at = text->find(open, at)) {
    size_t end = at + open.size();
    while (end < text->size() && belongs((*text)[end])) ++end;
    std::fill(text->begin() + static_cast<int64_t>(at), text->begin() + static_cast<int64_t>(end), ' ');
    at = end;
  }
}

std::string Prose(std::string_view text) {
  std::string prose(text);
  Blank(&prose, "```", "```", 1 << 16);
  Blank(&prose, "`", "`", 200);
  Blank(&prose, "$$", "$$", 4096);
  Blank(&prose, "\\[", "\\]", 4096);
  Blank(&prose, "\\(", "\\)", 1024);
  Blank(&prose, "$", "$", 200);
  Blank(&prose, "<", ">", 16);
  const auto visible = [](char c) {
    return static_cast<unsigned char>(c) > ' ' && static_cast<unsigned char>(c) < 0x7f;
  };
  BlankRun(&prose, "https://", visible);
  BlankRun(&prose, "http://", visible);
  BlankRun(&prose, "\\", [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); });
  return prose;
}

// The text with control characters and bytes that are no UTF-8 as spaces: CLD2 takes no others.
std::string Clean(std::string_view text) {
  std::string clean(text);
  ForEachCharacter(text, [&](int32_t character, size_t begin, size_t end) {
    if (character < ' ' || (0x7f <= character && character < 0xa0))
      std::fill(clean.begin() + static_cast<int64_t>(begin), clean.begin() + static_cast<int64_t>(end), ' ');
  });
  return clean;
}

std::string NameOf(CLD2::Language language) {
  if (language == CLD2::UNKNOWN_LANGUAGE) return "";
  const std::string code = CLD2::LanguageCode(language);
  if (code == "un") return "";
  if (code == "iw") return "he";
  if (code == "nb" || code == "nn") return "no";
  return code.substr(0, code.find('-'));  // zh-Hant
}

// What CLD2 says of a text: of all of it, and of its parts where it tells them apart.
struct Detected {
  std::string language;
  CLD2::ResultChunkVector chunks;

  explicit Detected(const std::string& clean) {
    const CLD2::CLDHints no_hints{nullptr, nullptr, 0, CLD2::UNKNOWN_LANGUAGE};
    CLD2::Language best[3];
    int percent[3], bytes = 0, valid = 0;
    double scores[3];
    bool reliable = false;
    const CLD2::Language summary =
        CLD2::ExtDetectLanguageSummaryCheckUTF8(clean.data(), static_cast<int>(clean.size()), true, &no_hints,
                                                0, best, percent, scores, &chunks, &bytes, &reliable, &valid);
    if (reliable) language = NameOf(summary);
  }
  std::string At(size_t offset) const {
    for (const CLD2::ResultChunk& chunk : chunks) {
      const size_t begin = static_cast<size_t>(chunk.offset);
      if (offset < begin || offset >= begin + static_cast<size_t>(chunk.bytes)) continue;
      const std::string name = NameOf(static_cast<CLD2::Language>(chunk.lang1));
      return name.empty() ? language : name;
    }
    return language;
  }
};

// A word's letters against the scripts of a language.
enum class WordScript { kNone, kTarget, kOther };  // kNone: no word that counts
WordScript ScriptOf(std::string_view word, const Languages& target) {
  int letters = 0, of_target = 0;
  bool single_counts = false;  // one character is a word in these scripts
  ForEachCharacter(word, [&](int32_t character, size_t, size_t) {
    UErrorCode ignored = U_ZERO_ERROR;
    if (character < 0 || !u_isalpha(character)) return;
    const UScriptCode script = uscript_getScript(character, &ignored);
    if (script == USCRIPT_COMMON || script == USCRIPT_INHERITED) return;
    ++letters;
    of_target += std::ranges::count(target.scripts, script) > 0;
    single_counts |= script == USCRIPT_HAN || script == USCRIPT_HIRAGANA || script == USCRIPT_KATAKANA ||
                     script == USCRIPT_HANGUL;
  });
  if (letters == 0 || (letters == 1 && !single_counts)) return WordScript::kNone;
  return of_target == letters ? WordScript::kTarget : WordScript::kOther;
}

struct WordSpan {
  size_t begin, end;
};

// Words of the target's script, all in one sentence, where other languages use that script as well.
void CountShared(const std::string& clean, size_t begin, size_t end, const std::vector<WordSpan>& words,
                 std::string_view target, WordCounts* counts) {
  // Other scripts would decide what the sentence is.
  std::string sentence(end - begin, ' ');
  for (const WordSpan& word : words)
    sentence.replace(word.begin - begin, word.end - word.begin, clean, word.begin, word.end - word.begin);
  const Detected detected(sentence);
  for (const WordSpan& word : words) {
    const std::string language = detected.At(word.begin - begin);
    counts->unknown += language.empty();
    counts->counted += !language.empty();
    counts->target += language == target;
  }
}

class LanguageRule : public Reward {
 public:
  LanguageRule(std::string language, int64_t min_words)
      : language_(std::move(language)), min_words_(min_words) {}
  const std::string& name() const override { return name_; }

  Verdict Judge(const Completion& completion) const override {
    const std::string_view thinking =
        completion.raw ? completion.text : SplitThinking(completion.text).thinking;
    const std::string language = RowLanguage(*completion.prompt).value_or(language_);
    const WordCounts words = CountWords(thinking, language);
    const bool few = words.counted < min_words_;
    const double score = few ? 1 : static_cast<double>(words.target) / static_cast<double>(words.counted);
    return MakeVerdict(score == 1 ? VerdictKind::kCorrect : VerdictKind::kWrong, score,
                       absl::StrCat(words.target, " of ", words.counted, " words are ", language,
                                    words.unknown > 0 ? absl::StrCat(", ", words.unknown, " unknown") : "",
                                    few ? absl::StrCat("; fewer than ", min_words_, " say nothing") : ""));
  }

 private:
  static std::optional<std::string> RowLanguage(const Prompt& prompt) {
    if (prompt.fields.find("\"language\"") == prompt.fields.npos) return std::nullopt;
    const auto row = ParseJson(prompt.fields, "row");
    const Json* language = row.ok() ? Find(*row, "language") : nullptr;
    if (language == nullptr || !language->is_string()) return std::nullopt;
    const std::string name = language->get<std::string>();
    return FindLanguage(name) == nullptr ? std::nullopt : std::optional(name);
  }

  const std::string name_ = "language";
  const std::string language_;
  const int64_t min_words_;
};

}  // namespace

std::vector<std::string> LanguageNames() {
  std::vector<std::string> names;
  for (const Languages& languages : kLanguages) {
    for (std::string_view rest = languages.names; !rest.empty();) names.emplace_back(TakePart(&rest, ' '));
  }
  std::ranges::sort(names);
  return names;
}

WordCounts CountWords(std::string_view text, std::string_view language) {
  const Languages* target = FindLanguage(language);
  TEMPER_CHECK(target != nullptr, "language ", std::string(language));
  const std::string clean = Clean(Prose(text.substr(0, 8 << 20)));
  WordCounts counts;
  std::vector<WordSpan> words;  // of the target's script
  ForEachWord(clean, [&](size_t begin, size_t end) {
    const WordScript script = ScriptOf(std::string_view(clean).substr(begin, end - begin), *target);
    counts.counted += script == WordScript::kOther;
    if (script == WordScript::kTarget) words.push_back({begin, end});
  });
  if (!target->shared) {
    counts.counted += static_cast<int64_t>(words.size());
    counts.target = static_cast<int64_t>(words.size());
    return counts;
  }
  std::vector<WordSpan> inside;  // of one sentence
  size_t next = 0;
  ForEachSentence(clean, [&](size_t begin, size_t end) {
    inside.clear();
    for (; next < words.size() && words[next].begin < end; ++next)
      inside.push_back({words[next].begin, std::min(words[next].end, end)});
    if (!inside.empty()) CountShared(clean, begin, end, inside, language, &counts);
  });
  return counts;
}

std::string DetectLanguage(std::string_view text) {
  const std::string clean = Clean(text.substr(0, 8 << 20));
  return Detected(clean).language;
}

absl::StatusOr<std::unique_ptr<Reward>> MakeLanguage(const LanguageOptions& config) {
  if (FindLanguage(config.language) == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("rule language: there is no language ",
                                                   Printable(config.language), "; the languages are ",
                                                   absl::StrJoin(LanguageNames(), ", ")));
  }
  return std::make_unique<LanguageRule>(config.language, config.min_words);
}

}  // namespace temper
