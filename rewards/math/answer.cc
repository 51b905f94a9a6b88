// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/answer.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/one_of.h"
#include "rewards/completion/tags.h"
#include "rewards/math/claims.h"
#include "rewards/math/latex/commands.h"
#include "rewards/math/latex/latex.h"
#include "rewards/math/latex/quantity_words.h"
#include "rewards/math/prose.h"
#include "rewards/math/spans.h"

namespace temper::math {
namespace {

// What counts is near the end; the search is linear in this.
constexpr size_t kSearched = size_t{1} << 16;

// 1,22 written for 1.22: one comma that parts no thousands, in a text with one number.
std::string WithPoint(std::string text) {
  const size_t first = text.find_first_of("0123456789"), last = text.find_last_of("0123456789");
  const size_t comma = text.find(',');
  if (first == std::string::npos || comma == std::string::npos || comma <= first || comma >= last)
    return text;
  const std::string_view number = std::string_view(text).substr(first, last - first + 1);
  if (number.find_first_not_of("0123456789,") != number.npos || number.find(',') != number.rfind(','))
    return text;
  if (last - comma != 3) text[comma] = '.';
  return text;
}

// Without \text{Total: }, \text{Rs. } or US before a value.
std::string WithoutLabel(std::string text) {
  for (const std::string_view money : {"US", "CA", "AU", "HK", "NZ", "A", "C", "S", "R"}) {
    const std::string_view rest = std::string_view(text).substr(std::min(text.size(), money.size()));
    if (text.starts_with(money) && (rest.starts_with('$') || rest.starts_with("\\$")))
      return std::string(rest.substr(rest[0] == '$' ? 1 : 2));
  }
  if (!text.starts_with("\\text{")) return text;
  const size_t close = text.find('}');
  if (close == text.npos || close + 1 == text.size()) return text;
  const std::string_view label = Trim(std::string_view(text).substr(6, close - 6));
  const bool money = IsOneOf(label, {"Rs.", "Rs", "USD", "EUR"});
  if (!money &&
      (!label.ends_with(':') || IsDenied(label) || IsChanged(label) || label.find('\\') != label.npos))
    return text;
  return std::string(Trim(std::string_view(text).substr(close + 1)));
}

// Whether it can be nothing else, whatever words are in it: 9:00 a.m., 2 hours 30 minutes.
bool IsTimeOrAmount(const MathAnswer& answer) {
  const std::string& name = answer.expression.name;
  return answer.parses && IsOneOf(name, {"time", "clock", "amounts", "date"});
}

// What of a text's readings the reference decides, and where the text is read.
struct AnswerReader {
  MathStyle style;

  MathAnswer Parsed(std::string_view text, const char* place) const {
    MathAnswer answer;
    const std::string_view bare = WithoutFillers(text);
    answer.text = std::string(bare.empty() || absl::ascii_isalpha(bare[0]) ? Trim(text) : bare);
    for (const std::string_view word : {"negative ", "minus ", "Negative ", "Minus "}) {
      if (answer.text.starts_with(word) && absl::ascii_isdigit(answer.text[word.size()]))
        answer.text = absl::StrCat("-", answer.text.substr(word.size()));
    }
    answer.text = WithoutLabel(answer.text);
    if (style.number) answer.text = WithPoint(answer.text);
    answer.place = place;
    absl::StatusOr<Expression> expression =
        ParseLatex(answer.text, {.letters_are_units = style.number, .known_words = style.words});
    answer.parses = expression.ok();
    if (expression.ok()) {
      answer.expression = *std::move(expression);
    } else {
      answer.error = std::string(expression.status().message());
    }
    return answer;
  }
  std::optional<MathAnswer> Boxed(std::string_view text, const std::vector<Span>& formulas) const;
  std::optional<MathAnswer> LastFormulaWord(std::string_view text, const char* place) const;
  std::optional<MathAnswer> Sentence(std::string_view sentence, const char* place) const;
  std::optional<MathAnswer> Anchor(std::string_view behind) const;
  std::optional<MathAnswer> Corrected(std::string_view text, bool strictly) const;
  std::optional<MathAnswer> Number(std::string_view text, const char* place) const;
};

// An answer that was read and is no words.
bool IsMath(const MathAnswer& answer) { return answer.parses && answer.expression.kind != Kind::kText; }

MathAnswer Unreadable(std::string_view text, const char* place, const char* error) {
  MathAnswer answer;
  answer.text = std::string(Trim(text.substr(0, 100)));
  answer.place = place;
  answer.error = error;
  return answer;
}

MathAnswer Denied(std::string_view text, const char* place) {
  return Unreadable(text, place, "it says what the answer is not");
}

std::optional<MathAnswer> AnswerReader::Boxed(std::string_view text,
                                              const std::vector<Span>& formulas) const {
  const std::vector<Span> boxes = Boxes(text);
  const size_t last = boxes.empty() ? 0 : boxes.back().end;
  if (const size_t open = text.find("\\boxed{", last); open != text.npos)
    return Unreadable(text.substr(open), "boxed", "its brace does not close");
  if (boxes.empty()) return std::nullopt;
  const Span& box = boxes.back();
  const std::string_view inside = Trim(text.substr(box.inner_begin, box.inner_end - box.inner_begin));
  if (IsDeniedBox(text.substr(0, box.begin))) return Denied(text.substr(box.begin), "boxed");
  if (inside.empty() || IsOneOf(inside, {"\\text{}", "~", "\\"})) return MathAnswer{};
  if (std::optional<MathAnswer> corrected = Corrected(text.substr(box.end), /*strictly=*/true))
    return corrected;
  return Parsed(Joined(text, boxes, formulas), "boxed");
}

// The last word of a sentence that is a formula though nothing marks it, such as (\frac{2}{5}).
std::optional<MathAnswer> AnswerReader::LastFormulaWord(std::string_view text, const char* place) const {
  int tried = 0;
  for (size_t end = text.size(); end > 0 && tried < 4;) {
    const size_t space = text.find_last_of(" \t\n", end - 1);
    const size_t begin = space == text.npos ? 0 : space + 1;
    const std::string_view word = text.substr(begin, end - begin);
    if (word.find('\\') != word.npos && word.find_first_of("0123456789") != word.npos) {
      ++tried;
      MathAnswer answer = Parsed(word, place);
      if (IsMath(answer)) return answer;
    }
    if (begin == 0) break;
    end = begin - 1;
  }
  return std::nullopt;
}

bool IsBareNumber(const Expression& x) {
  switch (x.kind) {
    case Kind::kNumber:
      return true;
    case Kind::kMultiply:
    case Kind::kPower:
    case Kind::kAdd:
    case Kind::kPercent:
      return std::ranges::all_of(x.args, IsBareNumber);
    default:
      return false;
  }
}

// The last number of a text, with the words behind it where they belong to it: 5 million dollars.
std::optional<MathAnswer> AnswerReader::Number(std::string_view text, const char* place) const {
  const std::optional<FoundNumber> number = LastNumber(text);
  if (!number) return std::nullopt;
  const std::string_view before = text.substr(0, number->begin), rest = text.substr(number->begin);
  if (IsDenied(before)) return Denied(absl::StrCat("not ", number->text), place);
  if (IsChanged(before)) return Unreadable(text, place, "words that make another value");
  // 45' may be feet or minutes of an angle.
  const std::string_view sign = rest.substr(std::min(rest.size(), number->text.size()));
  if (sign.starts_with('\'') && !before.ends_with('\'') && !(sign.size() > 1 && absl::ascii_isalpha(sign[1])))
    return Unreadable(rest, place, "words that make another value");
  const std::string_view sentence = FirstSentence(rest, {}, !style.factorial);
  MathAnswer whole = Parsed(sentence.substr(0, 200), place);
  if (sentence.size() <= 200 && IsMath(whole) && IsBareNumber(whole.expression)) return whole;
  const std::string_view behind = Trim(sentence.substr(std::min(sentence.size(), number->text.size())));
  if (behind.starts_with('+') || behind.starts_with("\u00b1") || behind.starts_with("\\pm"))
    return Unreadable(rest, place, "a number that goes on");
  if (!KeepsValue(behind, number->text, style.words))
    return Unreadable(rest, place, "words that may make another value");
  return Parsed(number->text, place);
}

// What a sentence says at its end: a formula or a number, behind its last "is" or "=" where there is one.
std::optional<MathAnswer> AnswerReader::Sentence(std::string_view sentence, const char* place) const {
  sentence = WithoutFillers(sentence);
  const std::string_view first = sentence.substr(0, sentence.find(' '));
  if (IsDenied(first) || first.starts_with("不")) return Denied(sentence, place);
  const std::vector<Span> formulas = Formulas(sentence);
  if (const std::string_view before = BeforeReason(sentence, formulas); before.size() < sentence.size()) {
    if (TakenBack(sentence.substr(before.size()), /*strictly=*/true)) return Denied(sentence, place);
    if (std::optional<MathAnswer> found = Sentence(before, place)) return found;
  }
  MathAnswer whole = Parsed(sentence, place);
  if (IsTimeOrAmount(whole)) return whole;
  if (IsMath(whole) && (!IsProse(sentence, formulas) || IsOneFormula(sentence, formulas))) return whole;
  if (const size_t behind = BehindLast(sentence, {" is ", " are ", " est ", " ist ", " es ", "是", "为"});
      behind != sentence.npos) {
    if (std::optional<MathAnswer> found = Sentence(sentence.substr(behind), place)) return found;
  }
  if (!formulas.empty()) {
    const std::string_view before = sentence.substr(0, formulas.back().begin);
    if (IsDenied(before)) return Denied(sentence, place);
    if (IsChanged(before)) return Unreadable(sentence, place, "words that make another value");
    MathAnswer formula = Parsed(Joined(sentence, formulas, {}), place);
    if (IsMath(formula)) return formula;
  }
  if (const size_t equals = sentence.rfind('='); equals != sentence.npos) {
    MathAnswer right = Parsed(sentence.substr(equals + 1), place);
    if (IsMath(right)) return right;
  }
  if (std::optional<MathAnswer> word = LastFormulaWord(sentence, place)) return word;
  return Number(sentence, place);
}

// What is said behind an answer that takes it back, and the value that takes its place; nullopt: the answer
// stands.
std::optional<MathAnswer> AnswerReader::Corrected(std::string_view text, bool strictly) const {
  const std::optional<std::string_view> taken_back = TakenBack(text, strictly);
  if (!taken_back) return std::nullopt;
  if (const size_t behind = BehindLast(*taken_back, {" is ", " be ", " are ", "=", ": "});
      behind != taken_back->npos) {
    const std::string_view rest = taken_back->substr(behind);
    std::optional<MathAnswer> found =
        Sentence(FirstSentence(rest, Formulas(rest), !style.factorial), "final answer");
    if (found && found->parses) return found;
  }
  return Unreadable(*taken_back, "final answer", "what is said behind it takes it back");
}

// The first sentence behind the last "answer is"; formulas may hold points and line breaks.
std::optional<MathAnswer> AnswerReader::Anchor(std::string_view behind) const {
  if (behind.empty()) return std::nullopt;
  const std::string_view sentence = FirstSentence(behind, Formulas(behind), !style.factorial);
  if (std::optional<MathAnswer> corrected = Corrected(behind.substr(sentence.size()), /*strictly=*/false))
    return corrected;
  if (std::optional<MathAnswer> found = Sentence(sentence, "final answer")) return found;
  return Parsed(sentence, "final answer");
}

bool HasKind(const Expression& x, Kind kind, std::string_view name) {
  return (x.kind == kind && x.name == name) ||
         std::ranges::any_of(x.args, [&](const Expression& arg) { return HasKind(arg, kind, name); });
}

}  // namespace

MathStyle StyleOf(const MathAnswer& reference) {
  return {.factorial = HasKind(reference.expression, Kind::kFunction, "factorial"),
          .number = IsBareNumber(reference.expression),
          .words = reference.text};
}

MathAnswer FindMathAnswer(std::string_view text, const MathStyle& style) {
  const AnswerReader reader{style};
  const std::string restored = Restored(text.substr(text.size() - std::min(text.size(), kSearched)));
  text = Trim(restored);
  const std::vector<Span> formulas = Formulas(text);
  if (std::optional<MathAnswer> boxed = reader.Boxed(text, formulas)) return *std::move(boxed);
  MathAnswer whole;
  if (text.size() <= kMaxLatexBytes) whole = reader.Parsed(text, "text");
  const std::string_view behind = BehindAnchor(text);
  if (IsTimeOrAmount(whole)) return whole;
  if (IsMath(whole) && behind.empty() && (!IsProse(text, formulas) || IsOneFormula(text, formulas)))
    return whole;
  if (!behind.empty() && IsDoubted(text.substr(0, behind.data() - text.data())))
    return Unreadable(behind, "final answer", "the sentence does not claim it");
  if (std::optional<MathAnswer> anchored = reader.Anchor(behind)) return *std::move(anchored);
  if (!formulas.empty() && IsBroken(text, formulas.back()))
    return Unreadable(text.substr(formulas.back().begin), "formula",
                      "a formula in the text begins with a line end");
  // Therefore, there are 12 of them: what is concluded behind the last formula.
  if (!formulas.empty()) {
    const std::string_view conclusion = Conclusion(text.substr(formulas.back().end));
    if (std::optional<MathAnswer> number = reader.Number(conclusion, "number")) return *std::move(number);
  }
  if (!formulas.empty()) {
    const Span& last = formulas.back();
    if (IsDenied(text.substr(0, last.begin)))
      return Denied(absl::StrCat("not ", std::string(text.substr(last.begin, last.end - last.begin))),
                    "formula");
    MathAnswer formula = reader.Parsed(Joined(text, formulas, {}), "formula");
    if (IsMath(formula)) return formula;
  }
  if (std::optional<MathAnswer> word = reader.LastFormulaWord(text, "formula")) return *std::move(word);
  // 5 ft 3, 4 2: a line of numbers that is no formula has no last one that counts.
  const std::optional<FoundNumber> last = LastNumber(text);
  const bool several = last && text.substr(0, last->begin).find_first_of("0123456789") != text.npos;
  if (several && !IsProse(text, formulas) && text.find('\n') == text.npos) return whole;
  if (std::optional<MathAnswer> number = reader.Number(text, "number")) return *std::move(number);
  return whole;
}

MathAnswer ReadMathReference(std::string_view text) {
  const AnswerReader reader{{}};
  const std::string restored = Restored(text);
  text = Trim(restored);
  const std::vector<Span> formulas = Formulas(text);
  if (std::optional<MathAnswer> boxed = reader.Boxed(text, formulas)) return *std::move(boxed);
  if (std::optional<MathAnswer> anchored = reader.Anchor(BehindAnchor(text)); anchored && anchored->parses)
    return *std::move(anchored);
  MathAnswer whole = reader.Parsed(text, "text");
  if (formulas.empty() || (IsMath(whole) && (!IsProse(text, formulas) || IsOneFormula(text, formulas))))
    return whole;
  MathAnswer formula = reader.Parsed(Joined(text, formulas, {}), "formula");
  return formula.parses || !whole.parses ? formula : whole;
}

}  // namespace temper::math
