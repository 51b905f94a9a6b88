// SPDX-License-Identifier: Apache-2.0
#include "rewards/math_answer.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "rewards/latex.h"
#include "rewards/math_spans.h"
#include "rewards/tags.h"

namespace temper {
namespace {

// What counts is near the end; the search is linear in this.
constexpr size_t kSearched = size_t{1} << 16;

// Whether it is a sentence, or has a formula in it, rather than being one: two words or more that are no
// commands, or four letters of another alphabet in a row.
bool IsProse(std::string_view text, const std::vector<Span>& formulas) {
  if (!formulas.empty() &&
      (formulas.size() > 1 || formulas[0].begin > 0 || formulas[0].end + 1 < text.size()))
    return true;
  int words = 0, foreign = 0;
  for (size_t at = 0; at < text.size();) {
    foreign = static_cast<unsigned char>(text[at]) >= 0x80 ? foreign + 1 : 0;
    if (foreign == 8) return true;
    if (!absl::ascii_isalpha(text[at])) {
      ++at;
      continue;
    }
    size_t end = at;
    while (end < text.size() && absl::ascii_isalpha(text[end])) ++end;
    const bool command = at > 0 && text[at - 1] == '\\';
    const std::string_view word = text.substr(at, end - at);
    if (command && (word == "text" || word == "mathrm" || word == "textbf" || word == "operatorname")) {
      const size_t close = text.find('}', end);
      end = close == text.npos ? text.size() : close;
    }
    words += !command && end - at >= 2 && word != "and" && word != "or" ? 1 : 0;
    at = end;
  }
  return words >= 2;
}

// 1,22 written for 1.22: one comma that parts no thousands, in a bare number.
std::string WithPoint(std::string text) {
  const size_t comma = text.find(',');
  if (comma == std::string::npos || comma == 0 ||
      text.find_first_not_of("-0123456789,") != std::string::npos ||
      text.find(',', comma + 1) != std::string::npos) {
    return text;
  }
  const size_t decimals = text.size() - comma - 1;
  if (decimals == 2 || decimals > 3) text[comma] = '.';
  return text;
}

MathAnswer Parsed(std::string text, const char* place) {
  MathAnswer answer;
  answer.text = WithPoint(std::string(Trim(text)));
  answer.place = place;
  absl::StatusOr<Expression> expression = ParseLatex(answer.text);
  answer.parses = expression.ok();
  if (expression.ok()) {
    answer.expression = *std::move(expression);
  } else {
    answer.error = std::string(expression.status().message());
  }
  return answer;
}

// An answer that was read and is no words.
bool IsMath(const MathAnswer& answer) {
  return answer.parses && answer.expression.kind != ExpressionKind::kText;
}

// Behind the last "answer is", "answer:" and the like; empty: there is none.
std::string_view BehindAnchor(std::string_view text) {
  const std::string lower = absl::AsciiStrToLower(std::string(text));
  size_t best = std::string::npos;
  for (const char* word :
       {"answer", "答案", "réponse", "respuesta", "antwort", "ответ", "الإجابة", "उत्तर", "####"}) {
    const size_t at = lower.rfind(word);
    if (at != std::string::npos && (best == std::string::npos || at > best)) best = at;
  }
  if (best == std::string::npos) return {};
  if (text.substr(best, 4) == "####") return text.substr(best + 4);
  // Up to a hundred characters may stand before "is": "the answer to the second part is".
  const std::string_view line = text.substr(best, std::min(text.find('\n', best), text.size()) - best);
  size_t begin = std::string::npos;
  for (const std::string_view sign :
       {": ", ":", "：", " is ", " are ", " est ", " es ", " ist ", "是", "为", "—"}) {
    const size_t at = line.substr(0, 120).find(sign);
    if (at != std::string::npos && (begin == std::string::npos || at + sign.size() < begin))
      begin = at + sign.size();
  }
  if (begin == std::string::npos) return {};
  std::string_view behind = text.substr(best + begin);
  while (!behind.empty() && (behind[0] == '*' || behind[0] == ':' || absl::ascii_isspace(behind[0])))
    behind.remove_prefix(1);
  return behind;
}

// Its first sentence.
std::string_view Sentence(std::string_view text) {
  for (size_t at = 0; at < text.size(); ++at) {
    const bool stop = text[at] == '.' && (at + 1 == text.size() || absl::ascii_isspace(text[at + 1]));
    if (text[at] == '\n' || stop || text.substr(at, 3) == "。") return text.substr(0, at);
  }
  return text;
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
  if (begin > 0 && text[begin - 1] == '-' &&
      (begin == 1 || std::string_view(" \t\n(=:$").find(text[begin - 2]) != std::string_view::npos)) {
    --begin;
  }
  return {begin, end, begin, end};
}

struct FoundNumber {
  std::string text;
  size_t begin = 0;
};

// The last number of a text, with a percent sign behind it; none inside a word (v2, AZY2A).
std::optional<FoundNumber> LastNumber(std::string_view text) {
  for (size_t end = text.size(); end > 0;) {
    if (!absl::ascii_isdigit(text[end - 1])) {
      --end;
      continue;
    }
    const Span number = NumberBefore(text, end);
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

std::optional<MathAnswer> FromBoxes(std::string_view text, const std::vector<Span>& formulas) {
  const std::vector<Span> boxes = Boxes(text);
  if (boxes.empty()) return std::nullopt;
  return Parsed(Joined(text, boxes, formulas), "boxed");
}

// Whether the words right before an answer deny it: "is not 5", "cannot be equal to 5", "isn't 5".
bool IsDenied(std::string_view before) {
  const std::string lower =
      absl::AsciiStrToLower(std::string(before.substr(before.size() - std::min<size_t>(before.size(), 80))));
  std::string_view rest = lower;
  for (int words = 0; words < 6; ++words) {
    while (!rest.empty() && std::string_view(" \t\n$*([{\\").find(rest.back()) != rest.npos)
      rest.remove_suffix(1);
    size_t begin = rest.size();
    while (begin > 0 &&
           (absl::ascii_isalpha(rest[begin - 1]) || rest[begin - 1] == '\'' || (rest[begin - 1] & 0x80) != 0))
      --begin;
    const std::string_view word = rest.substr(begin);
    if (word.ends_with("n't") || word.ends_with("n\u2019t")) return true;
    for (const std::string_view denial : {"not", "never", "cannot", "neither", "nor"}) {
      if (word == denial) return true;
    }
    static constexpr std::string_view kBetween[] = {"be",  "equal",  "equals", "to",
                                                    "the", "number", "value",  "is"};
    if (std::find(std::begin(kBetween), std::end(kBetween), word) == std::end(kBetween)) return false;
    rest = rest.substr(0, begin);
  }
  return false;
}

MathAnswer Denied(std::string_view text, const char* place) {
  MathAnswer answer;
  answer.text = std::string(Trim(text.substr(0, 100)));
  answer.place = place;
  answer.error = "it says what the answer is not";
  return answer;
}

// The last word of a sentence that is a formula though nothing marks it, such as (\frac{2}{5}).
std::optional<MathAnswer> LastFormulaWord(std::string_view text, const char* place) {
  int tried = 0;
  for (size_t end = text.size(); end > 0 && tried < 4;) {
    const size_t space = text.find_last_of(" \t\n", end - 1);
    const size_t begin = space == text.npos ? 0 : space + 1;
    const std::string_view word = text.substr(begin, end - begin);
    if (word.find('\\') != word.npos && word.find_first_of("0123456789") != word.npos) {
      ++tried;
      MathAnswer answer = Parsed(std::string(word), place);
      if (IsMath(answer)) return answer;
    }
    if (begin == 0) break;
    end = begin - 1;
  }
  return std::nullopt;
}

// What a sentence says at its end: a formula or a number, behind its last "is" or "=" where there is one.
std::optional<MathAnswer> FromSentence(std::string_view sentence, const char* place) {
  const std::string_view first = Trim(sentence).substr(0, Trim(sentence).find(' '));
  if (IsDenied(first)) return Denied(sentence, place);
  const std::vector<Span> formulas = Formulas(sentence);
  if (!IsProse(sentence, formulas)) {
    MathAnswer whole = Parsed(std::string(sentence), place);
    if (IsMath(whole)) return whole;
  }
  size_t behind = 0;
  for (const std::string_view verb : {" is ", " are ", " est ", " ist ", " es ", "是", "为"}) {
    const size_t at = sentence.rfind(verb);
    if (at != sentence.npos) behind = std::max(behind, at + verb.size());
  }
  if (behind > 0) {
    if (std::optional<MathAnswer> found = FromSentence(sentence.substr(behind), place)) return found;
  }
  if (!formulas.empty()) {
    if (IsDenied(sentence.substr(0, formulas.back().begin))) return Denied(sentence, place);
    MathAnswer formula = Parsed(Joined(sentence, formulas, {}), place);
    if (IsMath(formula)) return formula;
  }
  if (const size_t equals = sentence.rfind('='); equals != sentence.npos) {
    MathAnswer right = Parsed(std::string(sentence.substr(equals + 1)), place);
    if (IsMath(right)) return right;
  }
  if (std::optional<MathAnswer> word = LastFormulaWord(sentence, place)) return word;
  if (const std::optional<FoundNumber> number = LastNumber(sentence)) {
    if (IsDenied(sentence.substr(0, number->begin))) return Denied(sentence, place);
    return Parsed(number->text, place);
  }
  return std::nullopt;
}

// The first sentence behind the last "answer is"; formulas may hold points and line breaks.
std::optional<MathAnswer> FromAnchor(std::string_view behind) {
  if (behind.empty()) return std::nullopt;
  const std::vector<Span> formulas = Formulas(behind);
  size_t end = Sentence(behind).size();
  for (const Span& formula : formulas) {
    if (formula.begin >= end) break;
    if (formula.end > end) end = formula.end + Sentence(behind.substr(formula.end)).size();
  }
  const std::string_view sentence = behind.substr(0, end);
  if (std::optional<MathAnswer> found = FromSentence(sentence, "final answer")) return found;
  return Parsed(std::string(sentence), "final answer");
}

}  // namespace

MathAnswer FindMathAnswer(std::string_view text) {
  text = Trim(text);
  if (text.size() > kSearched) text.remove_prefix(text.size() - kSearched);
  const std::vector<Span> formulas = Formulas(text);
  if (std::optional<MathAnswer> boxed = FromBoxes(text, formulas)) return *std::move(boxed);
  if (const size_t open = text.rfind("\\boxed{"); open != text.npos) {
    MathAnswer broken;
    broken.text = std::string(text.substr(open, 100));
    broken.place = "boxed";
    broken.error = "its brace does not close";
    return broken;
  }
  MathAnswer whole;
  if (text.size() <= kMaxLatexBytes) whole = Parsed(std::string(text), "text");
  if (IsMath(whole) && !IsProse(text, formulas)) return whole;
  if (std::optional<MathAnswer> anchored = FromAnchor(BehindAnchor(text))) return *std::move(anchored);
  if (!formulas.empty() && IsBroken(text, formulas.back())) {
    MathAnswer broken;
    broken.text = std::string(text.substr(formulas.back().begin));
    broken.place = "formula";
    broken.error = "a formula in the text begins with a line end";
    return broken;
  }
  if (!formulas.empty()) {
    const Span& last = formulas.back();
    if (IsDenied(text.substr(0, last.begin)))
      return Denied(absl::StrCat("not ", std::string(text.substr(last.begin, last.end - last.begin))),
                    "formula");
    MathAnswer formula = Parsed(Joined(text, formulas, {}), "formula");
    if (IsMath(formula)) return formula;
  }
  if (std::optional<MathAnswer> word = LastFormulaWord(text, "formula")) return *std::move(word);
  if (const std::optional<FoundNumber> number = LastNumber(text)) {
    if (IsDenied(text.substr(0, number->begin))) return Denied(absl::StrCat("not ", number->text), "number");
    return Parsed(number->text, "number");
  }
  return whole;
}

MathAnswer ReadMathReference(std::string_view text) {
  text = Trim(text);
  const std::vector<Span> formulas = Formulas(text);
  if (std::optional<MathAnswer> boxed = FromBoxes(text, formulas)) return *std::move(boxed);
  MathAnswer whole = Parsed(std::string(text), "text");
  if (formulas.empty() || (IsMath(whole) && !IsProse(text, formulas))) return whole;
  MathAnswer formula = Parsed(Joined(text, formulas, {}), "formula");
  return formula.parses || !whole.parses ? formula : whole;
}

}  // namespace temper
