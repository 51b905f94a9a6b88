// SPDX-License-Identifier: Apache-2.0
#include "rewards/math_answer.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "rewards/latex.h"
#include "rewards/tags.h"

namespace temper {
namespace {

// What counts is near the end; the search is linear in this.
constexpr size_t kSearched = size_t{1} << 16;

struct Span {
  size_t begin = 0, end = 0;              // with its delimiters or command
  size_t inner_begin = 0, inner_end = 0;  // without
};

bool IsEscaped(std::string_view text, size_t at) {
  size_t slashes = 0;
  while (slashes < at && text[at - 1 - slashes] == '\\') ++slashes;
  return slashes % 2 == 1;
}

// Of every \boxed{..} and \fbox{..} whose braces close; also \boxed 5.
std::vector<Span> Boxes(std::string_view text) {
  std::vector<Span> boxes;
  for (const std::string_view command : {"\\boxed", "\\fbox"}) {
    for (size_t at = text.find(command); at != text.npos; at = text.find(command, at + 1)) {
      size_t open = at + command.size();
      while (open < text.size() && text[open] == ' ') ++open;
      if (open >= text.size()) break;
      if (text[open] != '{') {
        const size_t end = std::min(text.find_first_of(" \n$.,\\", open), text.size());
        if (end > open && open > at + command.size()) boxes.push_back({at, end, open, end});
        continue;
      }
      int depth = 0;
      for (size_t i = open; i < std::min(text.size(), open + kMaxLatexBytes); ++i) {
        if (text[i] == '{' && !IsEscaped(text, i)) ++depth;
        if (text[i] == '}' && !IsEscaped(text, i) && --depth == 0) {
          boxes.push_back({at, i + 1, open + 1, i});
          break;
        }
      }
    }
  }
  std::sort(boxes.begin(), boxes.end(), [](const Span& a, const Span& b) { return a.begin < b.begin; });
  // A box inside a box is part of it.
  std::vector<Span> outer;
  for (const Span& box : boxes) {
    if (outer.empty() || box.begin >= outer.back().end) outer.push_back(box);
  }
  return outer;
}

// The length of a matrix that no formula signs stand around, \begin{pmatrix}..\end{pmatrix}; 0: none begins
// here.
size_t MatrixLength(std::string_view text) {
  for (const std::string_view name : {"pmatrix", "bmatrix", "vmatrix", "matrix", "array"}) {
    const std::string begin = absl::StrCat("\\begin{", std::string(name), "}");
    if (!text.starts_with(begin)) continue;
    const std::string end = absl::StrCat("\\end{", std::string(name), "}");
    const size_t at = text.substr(0, kMaxLatexBytes).find(end);
    return at == text.npos ? 0 : at + end.size();
  }
  return 0;
}

// Of every $..$, $$..$$, \(..\), \[..\] and bare matrix, in order.
std::vector<Span> Formulas(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kDelimiters = {
      {{"$$", "$$"}, {"$", "$"}, {"\\(", "\\)"}, {"\\[", "\\]"}}};
  std::vector<Span> formulas;
  // Whether the closing form of a delimiter still comes; keeps a text of opening ones linear.
  std::array<bool, 4> closes = {true, true, true, true};
  for (size_t at = 0; at < text.size();) {
    at = text.find_first_of("$\\", at);
    if (at == text.npos) break;
    bool found = false;
    if (const size_t matrix = MatrixLength(text.substr(at)); matrix > 0) {
      formulas.push_back({at, at + matrix, at, at + matrix});
      at += matrix;
      continue;
    }
    for (size_t d = 0; d < kDelimiters.size() && !found; ++d) {
      const auto& [open, close] = kDelimiters[d];
      if (!text.substr(at).starts_with(open) || !closes[d]) continue;
      if (open[0] == '$' && IsEscaped(text, at)) continue;
      size_t end = at + open.size() - 1;
      do end = text.find(close, end + 1);
      while (end != text.npos && close[0] == '$' && IsEscaped(text, end));
      if (end == text.npos) {
        closes[d] = false;
        continue;
      }
      formulas.push_back({at, end + close.size(), at + open.size(), end});
      at = end + close.size();
      found = true;
    }
    if (!found) at += text[at] == '\\' && at + 1 < text.size() ? 2 : 1;
  }
  return formulas;
}

// $ or \( with a line end right behind it: TeX's displayed formulas are other signs, and math-verify reads
// none here.
bool IsBroken(std::string_view text, const Span& formula) {
  const std::string_view inner = text.substr(formula.inner_begin, formula.inner_end - formula.inner_begin);
  const bool in_text = text.substr(formula.begin, 2) == "\\(" ||
                       (text[formula.begin] == '$' && text.substr(formula.begin, 2) != "$$");
  const size_t first = inner.find_first_not_of(' ');
  return in_text && first != inner.npos && inner[first] == '\n';
}

// Whether nothing but "and", "or", commas and formula signs stands between two answers.
bool OnlyParts(std::string_view between) {
  std::string rest(between);
  for (const char* word : {"\\text", "\\quad", "\\qquad", "\\ ", "\\,", "\\;", "and", "or", "und", "oder",
                           "et", "ou", "y", "o", "和", "或", "и", "или", "$"}) {
    for (size_t at = rest.find(word); at != rest.npos; at = rest.find(word, at))
      rest.erase(at, std::string_view(word).size());
  }
  return rest.find_first_not_of(" \t\r\n,;{}") == rest.npos;
}

// The inside of the last of `spans`, and of those before it that belong to it, parted by commas.
std::string Joined(std::string_view text, const std::vector<Span>& spans, const std::vector<Span>& formulas) {
  const auto formula_of = [&](const Span& span) -> const Span* {
    for (const Span& f : formulas) {
      if (f.inner_begin <= span.begin && span.end <= f.inner_end) return &f;
    }
    return nullptr;
  };
  size_t first = spans.size() - 1;
  for (; first > 0; --first) {
    const Span &before = spans[first - 1], &after = spans[first];
    const Span* formula = formula_of(after);
    const bool together = formula != nullptr && formula == formula_of(before);
    if (!together && !OnlyParts(text.substr(before.end, after.begin - before.end))) break;
  }
  std::string joined;
  for (size_t i = first; i < spans.size(); ++i) {
    if (i > first) joined += ", ";
    joined += text.substr(spans[i].inner_begin, spans[i].inner_end - spans[i].inner_begin);
  }
  return joined;
}

bool IsLetter(char c) { return absl::ascii_isalpha(c); }
bool IsDigit(char c) { return absl::ascii_isdigit(c); }

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
    if (!IsLetter(text[at])) {
      ++at;
      continue;
    }
    size_t end = at;
    while (end < text.size() && IsLetter(text[end])) ++end;
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
    while (begin > 0 && (IsDigit(text[begin - 1]) || ((text[begin - 1] == '.' || text[begin - 1] == ',') &&
                                                      begin < text.size() && IsDigit(text[begin])))) {
      --begin;
    }
  };
  run();
  if (begin > 1 && text[begin - 1] == '/' && IsDigit(text[begin - 2])) {
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

// The last number of a text, with a percent sign behind it; none inside a word (v2, AZY2A).
std::optional<std::string> LastNumber(std::string_view text) {
  for (size_t end = text.size(); end > 0;) {
    if (!IsDigit(text[end - 1])) {
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
      return found;
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
    MathAnswer formula = Parsed(Joined(sentence, formulas, {}), place);
    if (IsMath(formula)) return formula;
  }
  if (const size_t equals = sentence.rfind('='); equals != sentence.npos) {
    MathAnswer right = Parsed(std::string(sentence.substr(equals + 1)), place);
    if (IsMath(right)) return right;
  }
  if (std::optional<MathAnswer> word = LastFormulaWord(sentence, place)) return word;
  if (const std::optional<std::string> number = LastNumber(sentence)) return Parsed(*number, place);
  return std::nullopt;
}

// The first sentence behind the last "answer is"; formulas may hold points and line breaks.
std::optional<MathAnswer> FromAnchor(std::string_view behind) {
  if (behind.empty()) return std::nullopt;
  const std::vector<Span> formulas = Formulas(behind);
  size_t from = 0;
  for (const Span& formula : formulas) {
    if (formula.begin < from + Sentence(behind.substr(from)).size()) from = formula.end;
  }
  const std::string_view sentence = behind.substr(0, from + Sentence(behind.substr(from)).size());
  if (std::optional<MathAnswer> found = FromSentence(sentence, "final answer")) return found;
  return Parsed(std::string(sentence), "final answer");
}

}  // namespace

MathAnswer FindMathAnswer(std::string_view text) {
  text = Trim(text);
  if (text.size() > kSearched) text.remove_prefix(text.size() - kSearched);
  const std::vector<Span> formulas = Formulas(text);
  if (std::optional<MathAnswer> boxed = FromBoxes(text, formulas)) return *std::move(boxed);
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
    MathAnswer formula = Parsed(Joined(text, formulas, {}), "formula");
    if (IsMath(formula)) return formula;
  }
  if (std::optional<MathAnswer> word = LastFormulaWord(text, "formula")) return *std::move(word);
  if (const std::optional<std::string> number = LastNumber(text)) return Parsed(*number, "number");
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
