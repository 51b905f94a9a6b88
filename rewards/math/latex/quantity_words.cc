// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/latex/quantity_words.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "core/check.h"
#include "core/one_of.h"
#include "rewards/completion/tags.h"
#include "rewards/math/latex/quantity_words.txt.h"

namespace temper::math {
namespace {

// The lists of quantity_words.txt, as they are named there.
enum List {
  kNumber,
  kNoPlural,
  kHarmless,
  kPreposition,
  kDescribed,
  kStop,
  kUnit,
  kBaseUnit,
  kRemark,
  kChanging,
  kVerb,
  kForeign
};
constexpr std::string_view kLists[] = {"number",    "no plural", "harmless", "preposition",
                                       "described", "stop",      "unit",     "base unit",
                                       "remark",    "changing",  "verb",     "foreign"};

struct WordLists {
  absl::flat_hash_map<std::string_view, uint32_t> lists;  // of a word, a bit for each
  std::vector<std::string_view> foreign;
};

const WordLists& Lists() {
  static const WordLists& words = *[] {
    auto* made = new WordLists;
    size_t list = 0;
    for (std::string_view rest = kQuantityWords; !rest.empty();) {
      std::string_view line = TakePart(&rest, '\n');
      if (line.starts_with('#')) continue;
      if (line.ends_with(':')) {
        const std::string_view name = line.substr(0, line.size() - 1);
        list = std::ranges::find(kLists, name) - std::begin(kLists);
        TEMPER_CHECK(list < std::size(kLists), std::string(name));
        continue;
      }
      while (!line.empty()) {
        const std::string_view word = TakePart(&line, ' ');
        made->lists[word] |= 1u << list;
        if (list == kForeign) made->foreign.push_back(word);
      }
    }
    return made;
  }();
  return words;
}

bool InList(List list, std::string_view word) {
  const auto found = Lists().lists.find(word);
  return found != Lists().lists.end() && (found->second >> list & 1) != 0;
}

// kN, mL, GB: a prefix and a base of the international system.
bool IsPrefixedUnit(std::string_view word) {
  if (word.size() < 2 || word.size() > 5) return false;
  if (word.size() > 1 && InList(kBaseUnit, word)) return true;
  return IsOneOf(word[0], "kMGTmnpcdh") && InList(kBaseUnit, word.substr(1));
}

bool EndsInS(std::string_view word) {
  return word.size() > 3 && word.ends_with('s') && !word.ends_with("ss") && !word.ends_with("us") &&
         !word.ends_with("wards") && !word.ends_with("is");
}

// A word of a remark: in small letters, and as written.
struct Beside {
  std::string lower;
  std::string_view written;
  bool number_follows = false;  // 6, of "ft. 6 in."
};

// m, s, V: of one letter. Of B, M, k and a K that stands right behind the number nothing is known: 12K.
bool IsLetterUnit(const Beside& word, std::string_view behind) {
  if (word.written.size() != 1) return false;
  if (word.written == "K") {
    const std::string_view before = behind.substr(0, word.written.data() - behind.data());
    return before.find_first_of(" ~,") != before.npos || before.find("\\mathrm") != before.npos;
  }
  return IsOneOf(word.written[0], "hsmgLlNJWVACFtTHdy");
}

bool IsLetter(char c) { return absl::ascii_isalpha(c) || (c & 0x80) != 0; }

// Bytes of the letter there: 1 of ASCII's, 2 of Latin's with an accent (not \u00d7 and \u00f7), 0 of none.
size_t LatinLetter(std::string_view text, size_t at) {
  if (absl::ascii_isalpha(text[at])) return 1;
  const auto byte = static_cast<unsigned char>(text[at]);
  if (byte < 0xC3 || byte > 0xC9 || at + 1 >= text.size()) return 0;
  const auto next = static_cast<unsigned char>(text[at + 1]);
  return byte == 0xC3 && (next == 0x97 || next == 0xB7) ? 0 : 2;
}

bool HasAccent(std::string_view word) {
  return absl::ascii_isalpha(word[0]) ? std::ranges::any_of(word, [](char c) { return (c & 0x80) != 0; })
                                      : LatinLetter(word, 0) == 2;
}

// The words up to the first mark that ends a clause; of \text{..} and its like what is inside.
std::vector<Beside> WordsOf(std::string_view text) {
  std::vector<Beside> words;
  for (size_t at = 0; at < text.size() && words.size() < 24;) {
    if (text[at] == '\\') {
      size_t end = at + 1;
      while (end < text.size() && absl::ascii_isalpha(text[end])) ++end;
      const std::string_view command = text.substr(at + 1, end - at - 1);
      const bool marks = IsOneOf(command, {"pm", "times", "le", "ge"});
      if (marks) words.push_back({.lower = "times", .written = command});
      at = std::max(end, at + 2);
      continue;
    }
    if (IsOneOf(text[at], ".,;:!?\n")) {
      const bool short_form = text[at] == '.' && !words.empty() && words.back().written.size() < 3;
      if (!short_form) break;
    }
    if (!IsLetter(text[at])) {
      if (absl::ascii_isdigit(text[at]) && !words.empty()) {
        const char* const end_of_word = words.back().written.data() + words.back().written.size();
        const std::string_view gap(end_of_word, static_cast<size_t>(text.data() + at - end_of_word));
        words.back().number_follows = words.back().number_follows || gap.find_first_not_of(" .~") == gap.npos;
      }
      ++at;
      continue;
    }
    size_t end = at;
    if (LatinLetter(text, at) > 0) {  // m² is two
      size_t letter = 0;
      const auto joins = [&](size_t here) {  // non-negative, o'clock
        return text[here] == '\'' ||
               (text[here] == '-' && here + 1 < text.size() && absl::ascii_isalpha(text[here + 1]));
      };
      while (end < text.size() && (letter = joins(end) ? 1 : LatinLetter(text, end)) > 0) end += letter;
    } else {
      while (end < text.size() && (text[end] & 0x80) != 0 && LatinLetter(text, end) == 0) ++end;
    }
    const std::string_view word = text.substr(at, end - at);
    words.push_back({.lower = absl::AsciiStrToLower(std::string(word)), .written = word});
    at = end;
  }
  return words;
}

bool IsIn(std::string_view word, std::string_view text) {
  for (size_t at = text.find(word); at != text.npos; at = text.find(word, at + 1)) {
    const bool left = at == 0 || !IsLetter(text[at - 1]);
    const bool right = at + word.size() == text.size() || !IsLetter(text[at + word.size()]);
    if (left && right) return true;
  }
  return false;
}

// 8 万, 8 个半, 8 以上
bool HasForeignNumber(std::string_view text) {
  for (const std::string_view unit : {"千克", "千米", "千瓦", "千卡", "千帕", "千伏"}) {
    if (text.starts_with(unit)) text.remove_prefix(unit.size());
  }
  for (const std::string_view part : Lists().foreign) {
    if (text.find(part) != text.npos) return true;
  }
  return false;
}

bool IsNameOf(std::string_view word, std::string_view number) {
  static constexpr std::string_view kNames[] = {
      "zero",     "one",     "two",     "three",     "four",     "five",     "six",
      "seven",    "eight",   "nine",    "ten",       "eleven",   "twelve",   "thirteen",
      "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"};
  const auto* const name = std::ranges::find(kNames, word);
  return name != std::end(kNames) && std::to_string(name - std::begin(kNames)) == number;
}

bool IsCounted(const Beside& word) {
  return IsUnit(word.written) || IsUnit(word.lower) || InList(kHarmless, word.lower) ||
         (EndsInS(word.lower) && !InList(kNoPlural, word.lower));
}

}  // namespace

bool IsUnit(std::string_view word) { return InList(kUnit, word) || IsPrefixedUnit(word); }

namespace {

// What a bracket behind a number says of it without changing it: (option C), (exact), (one thousand two
// hundred).
bool IsRemark(std::string_view inside, std::string_view number) {
  const std::vector<Beside> words = WordsOf(inside);
  if (words.empty()) return false;
  if (InList(kRemark, words[0].lower)) return true;
  // 36 (thousands) is another number.
  const bool large =
      (number.size() > 2 || number > "20") && !words[0].lower.ends_with('s') &&
      std::string_view("hundred thousand million billion trillion half dozen").find(words[0].lower) ==
          std::string_view::npos;
  return large && std::ranges::all_of(words, [](const Beside& word) {
           return word.lower == "and" || InList(kNumber, word.lower);
         });
}

}  // namespace

bool KeepsValue(std::string_view behind, std::string_view number, std::optional<std::string_view> known) {
  const bool one = number.empty() || number == "1";
  behind = behind.substr(0, 200);
  for (const std::string_view bound :
       {", at most", ", at least", ", or more", ", or less", ", or fewer", ", or so"}) {
    if (behind.starts_with(bound)) return false;
  }
  const size_t open = behind.find_first_not_of(" $~");
  if (open != behind.npos && behind[open] == '(') {
    const size_t close = behind.find(')', open);
    if (close != behind.npos && IsRemark(behind.substr(open + 1, close - open - 1), number))
      behind.remove_prefix(close + 1);
  }
  const std::vector<Beside> words = WordsOf(behind);
  const auto is_known = [&](const Beside& word) { return !known || IsIn(word.written, *known); };
  const auto next = [&](size_t i) {
    return i + 1 < words.size() ? std::string_view(words[i + 1].lower) : "";
  };
  bool counted = false, belongs = false;  // what is counted was said; a preposition was
  for (size_t i = 0; i < words.size(); ++i) {
    const Beside& word = words[i];
    const std::string_view lower = word.lower;
    if (HasAccent(lower) || (word.lower[0] & 0x80) != 0) {
      if (HasForeignNumber(lower)) return false;
      counted = true;
      continue;
    }
    // "as" and "so" end a clause, but for "as many as" and "or so".
    if (lower == "as" && IsOneOf(next(i), {"well", "many", "much", "large"})) return false;
    if (lower == "and" || lower == "or") {
      const bool several = i > 0 && i + 1 < words.size() && IsCounted(words[i + 1]) && next(i) != "more" &&
                           !InList(kNumber, next(i));
      const bool both = counted && i + 1 < words.size() && is_known(words[i + 1]) && known.has_value();
      // red and blue balls; 15 cm and we are done
      const bool goes_on = lower == "and" && next(i).size() > 1 && !InList(kNumber, next(i)) &&
                           !InList(kNoPlural, next(i)) && (i > 0 || next(i).size() > 3) &&
                           !IsOneOf(next(i), {"an", "some", "more", "the"}) && !IsCounted(words[i + 1]);
      if (!several && !both && !goes_on) return false;
      continue;
    }
    if (word.number_follows && IsUnit(word.written) && !InList(kPreposition, lower)) return false;
    if (InList(kStop, lower)) return !IsOneOf(next(i), {"wrong", "incorrect", "false", "not"});
    if (lower == "over" && i > 0 && words[i - 1].lower == "left") continue;
    if (IsOneOf(lower, {"over", "under", "out"})) return false;
    if (lower == "to" && !counted) return false;
    if (IsNameOf(lower, number)) continue;        // 8 (eight)
    if (lower == "than" && counted) return true;  // 12 more apples than Bob
    if ((lower == "squared" || lower == "cubed") && i > 0 &&
        (IsCounted(words[i - 1]) || words[i - 1].lower.size() == 1))
      continue;                                                                      // cm squared
    if (lower == "root" && i > 0 && !InList(kNumber, words[i - 1].lower)) continue;  // 1 real root
    if (lower == "change" && counted) continue;
    if (InList(kNumber, lower.substr(lower.rfind('-') + 1)) && lower != "non-negative") return false;
    const bool of_percent = i > 0 && (words[i - 1].lower == "percent" || words[i - 1].lower == "percentage");
    if (of_percent && IsOneOf(lower, {"more", "less", "off", "lower", "higher"})) return false;
    if (lower == "more" && (next(i) == "than" || next(i) == "or")) return counted && next(i) == "than";
    if (lower == "more") continue;
    if (IsOneOf(lower,
                {"less", "fewer", "larger", "greater", "smaller", "bigger", "higher", "lower", "times"})) {
      const bool alone =
          lower == "times" && (next(i).empty() || IsOneOf(next(i), {"per", "a", "in", "each"}));
      if (lower != "times" && counted) continue;  // 12 years older, 12 dollars less: what was asked
      if (!alone && !is_known(word)) return false;
      counted = true;
      continue;
    }
    if (lower.ends_with("fold")) return false;
    if (InList(kPreposition, lower)) {
      belongs = true;
      continue;
    }
    if (IsCounted(word) || IsLetterUnit(word, behind)) {
      counted = true;
      continue;
    }
    if (belongs || counted || is_known(word)) continue;
    if (InList(kDescribed, lower) && next(i) == "of") {  // pairs of integers
      counted = true;
      continue;
    }
    if (InList(kDescribed, next(i)) && lower.size() > 2 && !InList(kNoPlural, lower)) {
      counted = true;
      ++i;
      continue;
    }
    if (one && !counted && !InList(kNoPlural, lower) && lower.size() > 2) continue;
    if (InList(kNoPlural, lower) || lower.size() < 3) return false;  // 12k, 12th
    counted = true;  // a noun or adjective that says nothing of the number
  }
  return true;
}

bool MakesAnother(std::string_view before) {
  const std::string lower =
      absl::AsciiStrToLower(std::string(before.substr(before.size() - std::min<size_t>(before.size(), 80))));
  std::string_view rest = lower;
  // 5 to, 5 -, 7, 8: a number that the words join to this one.
  for (int words = 0; words < 8; ++words) {
    while (!rest.empty() && IsOneOf(rest.back(), " \t\n$*([{\\")) rest.remove_suffix(1);
    size_t begin = rest.size();
    while (begin > 0 && (IsLetter(rest[begin - 1]) || rest[begin - 1] == '\'')) --begin;
    const std::string_view word = rest.substr(begin);
    // 7, 8
    if (word.empty() && words == 0 && rest.size() > 1 && rest.back() == ',')
      return absl::ascii_isdigit(rest[rest.size() - 2]);
    if (word.empty()) return false;
    const std::string_view left = rest.substr(0, begin);
    const size_t last = left.find_last_not_of(" \t$*");
    const bool behind_number = last != left.npos && absl::ascii_isdigit(left[last]);
    if (word == "to") {
      if (behind_number || left.ends_with("up ")) return true;
    } else if (word == "of") {
      if (left.ends_with("one ") || left.ends_with("none ") || left.ends_with("part ") ||
          left.ends_with("instead "))
        return true;
    } else if (word == "by" && left.ends_with("bounded ")) {
      return true;
    } else if (word == "and" && words > 0) {
      return false;
    } else if (InList(kChanging, word)) {
      return true;
    } else if (InList(kVerb, word)) {
      return false;
    }
    rest = left;
  }
  return false;
}

}  // namespace temper::math
