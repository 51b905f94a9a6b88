// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/prose.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "core/one_of.h"
#include "rewards/completion/tags.h"
#include "rewards/math/latex/commands.h"

namespace temper::math {
namespace {

// 17.1 behind approx. is not another sentence.
bool IsAbbreviation(std::string_view before) {
  static constexpr std::string_view kShort[] = {"approx", "ca", "resp", "e", "g", "a", "p", "m"};
  const std::string lower = LowerTail(before);
  const std::string_view word = LastWord(lower);
  if (word.size() > 1) return IsOneOf(word, kShort);
  // The points of a.m. and e.g.
  return IsOneOf(word, kShort) && lower.size() > 1 &&
         (lower[lower.size() - 2] == '.' || IsOneOf(word, {"e", "a", "p"}));
}

// The number that ends where `end` does (text[end - 1] is a digit), with its sign, point, commas and
// fraction.
Span NumberBefore(std::string_view text, size_t end) {
  size_t begin = end;
  const auto run = [&] {
    while (begin > 0 && (absl::ascii_isdigit(text[begin - 1]) ||
                         ((text[begin - 1] == '.' || text[begin - 1] == ',') && begin < text.size() &&
                          absl::ascii_isdigit(text[begin])))) {
      --begin;
    }
  };
  run();
  if (begin > 1 && text[begin - 1] == '/' && absl::ascii_isdigit(text[begin - 2])) {
    --begin;
    run();
  }
  while (begin < end && text[begin] == ',') ++begin;
  // A minus is a sign where nothing it could be taken from stands before it.
  if (begin > 0 && text[begin - 1] == '-' && (begin == 1 || IsOneOf(text[begin - 2], " \t\n(=:$"))) {
    --begin;
  }
  return {begin, end, begin, end};
}

}  // namespace

std::string_view LastWord(std::string_view text) {
  size_t begin = text.size();
  while (begin > 0 &&
         (absl::ascii_isalpha(text[begin - 1]) || text[begin - 1] == '\'' || (text[begin - 1] & 0x80) != 0))
    --begin;
  return text.substr(begin);
}

std::string_view WithoutTail(std::string_view text, std::string_view tail) {
  while (!text.empty() && tail.find(text.back()) != tail.npos) text.remove_suffix(1);
  return text;
}

std::string LowerTail(std::string_view text) {
  return absl::AsciiStrToLower(std::string(text.substr(text.size() - std::min<size_t>(text.size(), 80))));
}

bool IsProse(std::string_view text, const std::vector<Span>& formulas) {
  if (!formulas.empty() &&
      (formulas.size() > 1 || formulas[0].begin > 0 || formulas[0].end + 1 < text.size()))
    return true;
  int words = 0, foreign = 0;
  bool digits = false;
  for (size_t at = 0; at < text.size();) {
    foreign = static_cast<unsigned char>(text[at]) >= 0x80 ? foreign + 1 : 0;
    if (foreign == 8) return true;
    digits = digits || absl::ascii_isdigit(text[at]);
    if (!absl::ascii_isalpha(text[at])) {
      ++at;
      continue;
    }
    size_t end = at;
    while (end < text.size() && absl::ascii_isalpha(text[end])) ++end;
    const bool command = at > 0 && text[at - 1] == '\\';
    const std::string_view word = text.substr(at, end - at);
    if (command && IsOneOf(word, {"text", "mathrm", "textbf", "operatorname", "begin", "end"})) {
      const size_t close = text.find('}', end);
      end = close == text.npos ? text.size() : close;
    } else if (word == "is" || word == "are") {
      words += 2;
    } else if (!command && word.size() >= 2 && FindWord(word) == nullptr) {
      // One word before a number is no factor of it: Result: 42.
      words += word.size() >= 4 && !digits && word != "negative" && word != "minus" && IsEnglishWord(word) &&
                       end < text.size() && (text[end] == ' ' || text[end] == ':')
                   ? 2
                   : 1;
    }
    at = end;
  }
  return words >= 2;
}

std::string_view BehindAnchor(std::string_view text) {
  const std::string lower = absl::AsciiStrToLower(std::string(text));
  size_t best = std::string::npos;
  for (const char* word : {"answer",  "答案",     "réponse",  "respuesta", "antwort", "ответ",    "الإجابة",
                           "उत्तर",    "resposta", "risposta", "antwoord",  "cevap",   "odpowied", "svar",
                           "jawaban", "đáp án",   "คำตอบ",    "答え",      "正解",    "정답",     "####"}) {
    const size_t at = lower.rfind(word);
    if (at != std::string::npos && (best == std::string::npos || at > best)) best = at;
  }
  if (best == std::string::npos) return {};
  if (text.substr(best, 4) == "####") return text.substr(best + 4);
  // Up to a hundred characters may stand before "is": "the answer to the second part is".
  const std::string_view line = text.substr(best, std::min(text.find('\n', best), text.size()) - best);
  size_t begin = std::string::npos;
  for (const std::string_view sign :
       {": ", ":", "：", " is ", " are ", " est ", " es ", " ist ", " är ", " é ", " è ", "是", "为", "—"}) {
    const size_t at = line.substr(0, 120).find(sign);
    if (at != std::string::npos && (begin == std::string::npos || at + sign.size() < begin))
      begin = at + sign.size();
  }
  if (begin == std::string::npos) return {};
  // 答案不是, la respuesta no es: the denial belongs to what follows.
  const std::string_view before = WithoutTail(line.substr(0, begin), " ");
  for (const std::string_view denial : {"不是", "不为", " no es"}) {
    if (before.ends_with(denial)) return text.substr(best + before.size() - denial.size());
  }
  std::string_view behind = text.substr(best + begin);
  while (!behind.empty() && (behind[0] == '*' || behind[0] == ':' || absl::ascii_isspace(behind[0])))
    behind.remove_prefix(1);
  return behind;
}

std::string_view Conclusion(std::string_view text) {
  size_t best = text.npos;
  for (const std::string_view word :
       {"Therefore", "Thus", "Hence", "So ", "So, ", "Consequently", "In conclusion", "In total"}) {
    const size_t at = text.rfind(word);
    if (at != text.npos && (best == text.npos || at > best)) best = at;
  }
  return best == text.npos ? std::string_view{} : FirstSentence(text.substr(best), {}, true);
}

std::string_view FirstSentence(std::string_view text, const std::vector<Span>& formulas, bool exclaims) {
  size_t formula = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    while (formula < formulas.size() && formulas[formula].end <= at) ++formula;
    if (formula < formulas.size() && formulas[formula].begin <= at) {
      at = formulas[formula].end - 1;
      continue;
    }
    const std::string_view behind = text.substr(at + 1);
    const bool ends = behind.empty() || absl::ascii_isspace(behind[0]);
    if (text[at] == '\n' || text.substr(at, 3) == "。") return text.substr(0, at);
    if (text[at] == '.' && ends && !IsAbbreviation(text.substr(0, at))) return text.substr(0, at);
    // 5! = 120 goes on.
    const size_t next = behind.find_first_not_of(" *!\t\r");
    const bool goes_on = next != behind.npos && IsOneOf(behind[next], "=+-*/^)\\<>");
    if (text[at] == '!' && exclaims && at > 0 && (ends || behind[0] == '!' || behind[0] == '*') && !goes_on)
      return text.substr(0, at);
  }
  return text;
}

std::string_view WithoutFillers(std::string_view text) {
  static constexpr std::string_view kFillers[] = {
      "therefore",   "thus",      "hence",        "so",          "then",       "exactly",  "precisely",
      "simply",      "just",      "only",         "about",       "roughly",    "around",   "approximately",
      "clearly",     "obviously", "definitely",   "certainly",   "indeed",     "actually", "approx",
      "circa",       "ca",        "equal",        "equals",      "to",         "given",    "by",
      "now",         "also",      "still",        "always",      "merely",     "found",    "be",
      "again",       "finally",   "surely",       "evidently",   "apparently", "probably", "likely",
      "estimated",   "the",       "value",        "number",      "is",         "are",      "really",
      "necessarily", "trivially", "consequently", "accordingly", "must",       "should",   "all"};
  text = Trim(text);
  while (true) {
    for (const std::string_view phrase : {"a total of ", "in fact", "of course", "in total"}) {
      if (text.starts_with(phrase)) text.remove_prefix(phrase.size());
    }
    size_t end = 0;
    while (end < text.size() && absl::ascii_isalpha(text[end])) ++end;
    if (end == 0 || end == text.size()) return text;
    const std::string word = absl::AsciiStrToLower(std::string(text.substr(0, std::min<size_t>(end, 16))));
    const bool point = text[end] == '.' && (word == "approx" || word == "ca");
    const size_t next = text.find_first_not_of(" ,:*\t", end + (point ? 1 : 0));
    if (next == text.npos || next == end || !IsOneOf(word, kFillers)) return text;
    text.remove_prefix(next);
  }
}

std::string_view BeforeReason(std::string_view sentence, const std::vector<Span>& formulas) {
  const std::string lower = absl::AsciiStrToLower(std::string(sentence));
  size_t best = sentence.size();
  for (const std::string_view word : {"because", "since", "as", "which", "given", "due"}) {
    for (size_t at = lower.find(word, 1); at < best; at = lower.find(word, at + 1)) {
      const size_t end = at + word.size();
      const bool whole = IsOneOf(lower[at - 1], " (,-") && end < lower.size() && IsOneOf(lower[end], " ,:");
      const auto formula = std::ranges::upper_bound(formulas, at, {}, &Span::end);
      const bool inside = formula != formulas.end() && formula->begin <= at;
      // 5 as well as 6, 5 times as many
      const bool joins =
          word == "as" && (lower.compare(end, 5, " well") == 0 || lower.compare(end, 5, " many") == 0 ||
                           lower.compare(end, 5, " much") == 0);
      if (whole && !inside && !joins) best = at;
    }
  }
  if (best == sentence.size()) return sentence;
  return WithoutTail(sentence.substr(0, best), " ,-(:;\t");
}

std::optional<FoundNumber> LastNumber(std::string_view text) {
  for (size_t end = text.size(); end > 0;) {
    if (!absl::ascii_isdigit(text[end - 1])) {
      --end;
      continue;
    }
    const Span number = NumberBefore(text, end);
    // cm^2
    if (number.begin > 0 && (text[number.begin - 1] == '^' || text.substr(0, number.begin).ends_with("^{"))) {
      end = number.begin - 1;
      continue;
    }
    const bool word_before =
        number.begin > 0 && (absl::ascii_isalpha(text[number.begin - 1]) || text[number.begin - 1] == '_');
    const bool word_behind = end < text.size() && absl::ascii_isalpha(text[end]) && end + 1 < text.size() &&
                             absl::ascii_isalnum(text[end + 1]) && word_before;
    if (!word_before && !word_behind) {
      std::string found(text.substr(number.begin, number.end - number.begin));
      std::string_view behind = text.substr(end);
      while (!behind.empty() && (behind[0] == ' ' || behind[0] == '\\')) behind.remove_prefix(1);
      if (behind.starts_with('%')) found += "%";
      return FoundNumber{std::move(found), number.begin};
    }
    end = number.begin;
  }
  return std::nullopt;
}

}  // namespace temper::math
