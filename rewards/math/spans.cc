// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/spans.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/text.h"
#include "rewards/math/latex/latex.h"

namespace temper::math {
namespace {

bool IsEscaped(std::string_view text, size_t at) {
  size_t slashes = 0;
  while (slashes < at && text[at - 1 - slashes] == '\\') ++slashes;
  return slashes % 2 == 1;
}

// For each brace that opens and has its other end, where that is; found in one pass.
std::vector<size_t> BraceEnds(std::string_view text) {
  std::vector<size_t> ends(text.size(), text.npos), open;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;  // what is escaped is no brace
    } else if (text[at] == '{') {
      open.push_back(at);
    } else if (text[at] == '}' && !open.empty()) {
      ends[open.back()] = at;
      open.pop_back();
    }
  }
  return ends;
}

// The length of a matrix that no formula signs stand around, \begin{pmatrix}..\end{pmatrix}; 0: none begins
// here.
size_t MatrixLength(std::string_view text) {
  if (!text.starts_with("\\begin{")) return 0;
  for (const std::string_view name : {"pmatrix", "bmatrix", "vmatrix", "matrix", "array"}) {
    const std::string begin = absl::StrCat("\\begin{", std::string(name), "}");
    if (!text.starts_with(begin)) continue;
    const std::string end = absl::StrCat("\\end{", std::string(name), "}");
    const size_t at = text.substr(0, kMaxLatexBytes).find(end);
    return at == text.npos ? 0 : at + end.size();
  }
  return 0;
}

// Whether nothing but "and", "or", commas and formula signs stands between two answers.
bool OnlyParts(std::string_view between) {
  static constexpr std::string_view kParts[] = {
      "\\text", "\\quad", "\\qquad", "\\ ", "\\,", "\\;", "and", "or", "und", "oder", "et", "ou", "y", "o",
      "和",     "或",     "и",       "или", "$",   " ",   "\t",  "\r", "\n",  ",",    ";",  "{",  "}"};
  while (!between.empty()) {
    size_t taken = 0;  // the longest: "or" before "o"
    for (const std::string_view part : kParts) {
      if (between.starts_with(part)) taken = std::max(taken, part.size());
    }
    if (taken == 0) return false;
    between.remove_prefix(taken);
  }
  return true;
}

// Bytes of a digit of another script, or in another font, that `text` starts with, and the digit to `ascii`;
// 0: none.
size_t ForeignDigit(std::string_view text, std::string* ascii) {
  if (static_cast<unsigned char>(text[0]) < 0x80) return 0;
  static constexpr uint32_t kZeros[] = {0x660, 0x6F0, 0x966, 0x9E6, 0xE50, 0xFF10};
  static constexpr uint32_t kBold = 0x1D7CE, kFonts = 5;
  const size_t length = Utf8Length(text);
  if (length < 2 || length > text.size()) return 0;
  uint32_t code = static_cast<unsigned char>(text[0]) & (0xFFu >> (length + 1));
  for (size_t i = 1; i < length; ++i) code = code << 6 | (static_cast<unsigned char>(text[i]) & 0x3Fu);
  for (const uint32_t zero : kZeros) {
    if (code < zero || code > zero + 9) continue;
    *ascii += static_cast<char>('0' + (code - zero));
    return length;
  }
  if (code < kBold || code >= kBold + 10 * kFonts) return 0;
  *ascii += static_cast<char>('0' + (code - kBold) % 10);
  return length;
}

}  // namespace

std::string Restored(std::string_view text) {
  // A control character, the letter that it was written with, and the rest of the commands that begin so.
  struct Eaten {
    char control, letter;
    std::vector<std::string_view> rests;
  };
  static const auto& table =
      *new std::vector<Eaten>{{'\f', 'f', {"rac{", "loor", "rac1"}},
                              {'\b', 'b', {"oxed{", "egin{", "inom{", "eta", "ar{"}},
                              {'\t', 't', {"ext{", "imes", "heta", "frac{", "an(", "an ", "riangle"}},
                              {'\r', 'r', {"ight", "angle", "ho", "floor", "ceil"}},
                              {'\v', 'v', {"ec{", "arphi", "arepsilon"}}};
  std::string restored;
  size_t slashes = 0;  // right before
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (const size_t length = ForeignDigit(text.substr(at), &restored); length > 0) {
      at += length - 1;
      slashes = 0;
      continue;
    }
    restored += c;
    if (!absl::ascii_iscntrl(c) && c != '\\') {
      slashes = 0;
      continue;
    }
    for (const Eaten& eaten : table) {
      if (c != eaten.control || !std::ranges::any_of(eaten.rests, [&](std::string_view rest) {
            return text.substr(at + 1).starts_with(rest);
          }))
        continue;
      restored.back() = '\\';
      if (slashes % 2 == 1) restored.pop_back();  // it was escaped, but not often enough
      restored += eaten.letter;
      break;
    }
    slashes = c == '\\' ? slashes + 1 : 0;
  }
  return restored;
}

std::vector<Span> Boxes(std::string_view text) {
  std::vector<Span> boxes;
  std::vector<size_t> ends;
  for (const std::string_view command : {"\\boxed", "\\fbox"}) {
    for (size_t at = text.find(command); at != text.npos; at = text.find(command, at + 1)) {
      if (ends.empty()) ends = BraceEnds(text);
      size_t open = at + command.size();
      while (open < text.size() && text[open] == ' ') ++open;
      if (open >= text.size()) break;
      if (text[open] != '{') {
        const size_t end = std::min(text.find_first_of(" \n$.,\\", open), text.size());
        if (end > open && open > at + command.size()) boxes.push_back({at, end, open, end});
      } else if (const size_t end = ends[open]; end != text.npos && end < open + kMaxLatexBytes) {
        boxes.push_back({at, end + 1, open + 1, end});
      }
    }
  }
  std::ranges::sort(boxes, {}, &Span::begin);
  // A box inside a box is part of it.
  std::vector<Span> outer;
  for (const Span& box : boxes) {
    if (outer.empty() || box.begin >= outer.back().end) outer.push_back(box);
  }
  return outer;
}

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

bool IsOneFormula(std::string_view text, const std::vector<Span>& formulas) {
  size_t formula = 0;
  for (size_t at = 0; at < text.size();) {
    while (formula < formulas.size() && formulas[formula].end <= at) ++formula;
    if (formula < formulas.size() && formulas[formula].begin <= at) {
      at = formulas[formula].end;
      continue;
    }
    size_t end = at;
    while (end < text.size() && absl::ascii_isalpha(text[end])) ++end;
    const std::string_view word = text.substr(at, end - at);
    if (word.size() > 1 && word != "and" && word != "or" && !(at > 0 && text[at - 1] == '\\')) return false;
    if (text[at] == '\n' || static_cast<unsigned char>(text[at]) >= 0x80) return false;
    at = std::max(end, at + 1);
  }
  return !formulas.empty();
}

bool IsBroken(std::string_view text, const Span& formula) {
  const std::string_view inner = text.substr(formula.inner_begin, formula.inner_end - formula.inner_begin);
  const bool in_text = text.substr(formula.begin, 2) == "\\(" ||
                       (text[formula.begin] == '$' && text.substr(formula.begin, 2) != "$$");
  const size_t first = inner.find_first_not_of(' ');
  return in_text && first != inner.npos && inner[first] == '\n';
}

std::string Joined(std::string_view text, const std::vector<Span>& spans, const std::vector<Span>& formulas) {
  const auto formula_of = [&](const Span& span) -> const Span* {
    const auto behind = std::ranges::upper_bound(formulas, span.begin, {}, &Span::inner_begin);
    if (behind == formulas.begin() || span.end > (behind - 1)->inner_end) return nullptr;
    return &*(behind - 1);
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

}  // namespace temper::math
