// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/latex/latex.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "core/one_of.h"
#include "core/text.h"
#include "rewards/completion/tags.h"
#include "rewards/math/latex/commands.h"
#include "rewards/math/latex/parser.h"
#include "rewards/math/latex/unicode.h"

namespace temper::math {
namespace {

bool TakeEnds(std::string_view* text, std::string_view open, std::string_view close) {
  if (text->size() < open.size() + close.size() || !text->starts_with(open) || !text->ends_with(close)) {
    return false;
  }
  const std::string_view inside = text->substr(open.size(), text->size() - open.size() - close.size());
  if (inside.find(close) != inside.npos) return false;
  *text = Trim(inside);
  return true;
}

// No solution; Tuesday; Evelyn. Nothing but words, one of which is none of mathematics.
bool IsProse(std::string_view text) {
  bool prose = false;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && absl::ascii_isalpha(text[end])) ++end;
    const std::string_view word = text.substr(at, end - at);
    if (word.empty() && !IsOneOf(text[at], " \t\n-',.")) return false;
    if (word == "and" || word == "or") return false;
    prose = prose || IsOneOf(word, {"yes", "Yes", "YES", "no", "No", "NO"}) ||
            (word.size() >= 4 && IsEnglishWord(word));
    at = std::max(end, at + 1);
  }
  return prose;
}

// A circle, the circle.
std::string_view WithoutArticle(std::string_view text) {
  for (const std::string_view article : {"a ", "an ", "the ", "A ", "An ", "The "}) {
    if (text.starts_with(article) && IsProse(text.substr(article.size()))) return text.substr(article.size());
  }
  return text;
}

std::string OneSpaced(std::string_view text) {
  std::string words(text);
  absl::RemoveExtraAsciiWhitespace(&words);
  return words;
}

}  // namespace

std::string_view Undress(std::string_view text) {
  text = Trim(text);
  for (bool again = true; again;) {
    again = TakeEnds(&text, "$$", "$$") || TakeEnds(&text, "$", "$") || TakeEnds(&text, "\\(", "\\)") ||
            TakeEnds(&text, "\\[", "\\]") || TakeEnds(&text, "**", "**") || TakeEnds(&text, "__", "__") ||
            TakeEnds(&text, "\u201c", "\u201d") || TakeEnds(&text, "\u00ab", "\u00bb") ||
            TakeEnds(&text, "\u300c", "\u300d") || TakeEnds(&text, "\"", "\"") || TakeEnds(&text, "`", "`");
    if (text.ends_with("**") && text.find("**") + 2 == text.size()) {  // the other end was cut off
      text = Trim(text.substr(0, text.size() - 2));
      again = true;
    }
    const bool dots = text.ends_with("..") || text.ends_with("\\.");
    if (!text.empty() && !dots && IsOneOf(text.back(), ".,;")) {
      text = Trim(text.substr(0, text.size() - 1));
      again = true;
    }
  }
  return text;
}

absl::StatusOr<Expression> ParseLatex(std::string_view text, const LatexOptions& options) {
  if (text.size() > kMaxLatexBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("LaTeX of %d bytes: at most %d are read", text.size(), kMaxLatexBytes));
  }
  if (const size_t invalid = FirstInvalidUtf8(text); invalid != text.npos) {
    return absl::InvalidArgumentError(absl::StrFormat("LaTeX at byte %d: no UTF-8", invalid));
  }
  const std::string_view bare = Undress(text);
  if (std::optional<Expression> time = ReadTime(bare)) return *std::move(time);
  if (std::optional<Expression> date = ReadDate(bare)) return *std::move(date);
  if (std::optional<Expression> amounts = ReadAmounts(bare)) return *std::move(amounts);
  if (std::optional<Expression> phrase = ReadPhrase(bare)) return *std::move(phrase);
  if (IsProse(bare)) return Expression{Kind::kText, OneSpaced(WithoutArticle(bare)), {}};
  if (const std::optional<std::string> other = OtherSpelling(bare)) return ParseLatex(*other, options);
  AsciiMath math = ToAsciiMath(bare);
  if (math.text.find("\\\\begin") != math.text.npos) {  // every backslash was escaped
    std::string once;
    for (size_t at = 0; at < math.text.size(); ++at) {
      once += math.text[at];
      if (math.text.compare(at, 2, "\\\\") == 0) ++at;
    }
    math = {once, {}};
  }
  constexpr int kMostUnclear = 4;
  std::string error;
  size_t error_at = 0;
  int unclear = 0;
  for (unsigned count = 0; count < 1u << unclear; ++count) {
    unsigned flips = 0;  // the last bar first
    for (int bit = 0; bit < unclear; ++bit) flips |= (count >> bit & 1) << (unclear - 1 - bit);
    LatexParser parser(math.text, flips, options);
    Expression tree = parser.Parse();
    if (!parser.failed()) {
      if (CountNodes(tree) <= kMaxLatexNodes) return tree;
      return absl::InvalidArgumentError(
          absl::StrFormat("LaTeX at byte 0: more than %d nodes", kMaxLatexNodes));
    }
    if (count == 0) {
      unclear = std::min(parser.unclear_bars(), kMostUnclear);
      error = parser.error();
      error_at = math.Offset(parser.error_at()) + (bare.data() - text.data());
    }
  }
  return absl::InvalidArgumentError(absl::StrFormat("LaTeX at byte %d: %s", error_at, error));
}

}  // namespace temper::math
