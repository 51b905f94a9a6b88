// SPDX-License-Identifier: Apache-2.0
// What people write in words or in another spelling of LaTeX's: the empty set, all real numbers, no
// solutions, US$3.50, 6.02 x 10^23, x < 1 \cup x > 2, {}^{10}C_3.
#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/one_of.h"
#include "rewards/completion/tags.h"
#include "rewards/math/latex/parser.h"

namespace temper::math {
namespace {

bool TakePrefix(std::string_view* text, std::string_view prefix) {
  if (!text->starts_with(prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}

void TakeSuffix(std::string_view* text, std::string_view suffix) {
  if (text->ends_with(suffix)) text->remove_suffix(suffix.size());
}

bool DigitAt(std::string_view text, size_t at) { return at < text.size() && absl::ascii_isdigit(text[at]); }

size_t BehindSpaces(std::string_view text, size_t at) {
  return std::min(text.find_first_not_of(' ', at), text.size());
}

// 6.02 x 10^23: the x is no symbol.
std::string WithTimes(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size(); ++at) {
    const size_t before = out.find_last_not_of(' ');
    const bool times = (text[at] == 'x' || text[at] == 'X') && before != out.npos && DigitAt(out, before) &&
                       text.substr(BehindSpaces(text, at + 1)).starts_with("10^");
    out += times ? "\\times " : std::string(1, text[at]);
  }
  return out;
}

// (-oo, 2] U [3, oo)
std::string WithCup(std::string_view text) {
  std::string out(text);
  for (size_t at = out.find(" U "); at != out.npos; at = out.find(" U ", at + 1)) {
    const bool sets = at > 0 && (out[at - 1] == ')' || out[at - 1] == ']') && at + 3 < out.size() &&
                      (out[at + 3] == '(' || out[at + 3] == '[');
    if (sets) out.replace(at, 3, " \\cup ");
  }
  return out;
}

// US$3.50, USD 3.50
std::string_view WithoutCurrency(std::string_view text) {
  for (const std::string_view code : {"US\\$", "US$", "A$", "C$", "HK$", "USD", "EUR"}) {
    if (!text.starts_with(code)) continue;
    const size_t at = BehindSpaces(text, code.size());
    if (DigitAt(text, at)) return text.substr(at);
  }
  return text;
}

// x < 1 \cup x > 2: one or the other. Each part must be an inequality, outside of brackets.
std::string WithOr(std::string_view text) {
  if (text.find("\\cup") == text.npos && text.find("∪") == text.npos) return std::string(text);
  std::string out;
  int depth = 0;
  bool order = false;  // in this part
  for (size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    const size_t sign = rest.starts_with("\\cup") && !(rest.size() > 4 && absl::ascii_isalpha(rest[4])) ? 4
                        : rest.starts_with("∪")                                                         ? 3
                                                                                                        : 0;
    if (sign > 0 && depth == 0) {
      if (!order) return std::string(text);
      order = false;
      out += " \\lor ";
      at += sign;
      continue;
    }
    if (IsOneOf(text[at], "([{")) ++depth;
    if (IsOneOf(text[at], ")]}")) --depth;
    for (const std::string_view name : {"<", ">", "\\le", "\\ge", "\\lt", "\\gt", "≤", "≥"})
      order |= depth == 0 && rest.starts_with(name) && !rest.starts_with("\\left");
    out += text[at++];
  }
  return order ? out : std::string(text);
}

// A number in braces or not, from *at on; empty: none.
std::string_view TakeCount(std::string_view text, size_t* at) {
  const bool braces = *at < text.size() && text[*at] == '{';
  const size_t begin = *at + (braces ? 1 : 0);
  size_t end = begin;
  while (DigitAt(text, end)) ++end;
  if (end - begin > 4 || (braces && (end == text.size() || text[end] != '}'))) return {};
  *at = end + (braces ? 1 : 0);
  return text.substr(begin, end - begin);
}

// 10C3, ^{10}C_3, {}^{10}C_{3}, C(10, 3): the whole text.
std::string WithBinomial(std::string_view text) {
  std::string bare(text);
  bare.erase(std::remove(bare.begin(), bare.end(), ' '), bare.end());
  std::string_view rest = bare;
  std::string_view above, below;
  size_t at = 0;
  if (TakePrefix(&rest, "C(")) {
    above = TakeCount(rest, &at);
    if (at >= rest.size() || rest[at++] != ',') return std::string(text);
    below = TakeCount(rest, &at);
    if (rest.substr(std::min(at, rest.size())) != ")") return std::string(text);
  } else {
    TakePrefix(&rest, "{}");
    const bool raised = TakePrefix(&rest, "^");
    above = TakeCount(rest, &at);
    if (at >= rest.size() || rest[at++] != 'C') return std::string(text);
    if (raised != (at < rest.size() && rest[at] == '_')) return std::string(text);
    if (raised) ++at;
    below = TakeCount(rest, &at);
    if (at != rest.size()) return std::string(text);
  }
  if (above.empty() || below.empty()) return std::string(text);
  return absl::StrCat("\\binom{", std::string(above), "}{", std::string(below), "}");
}

}  // namespace

std::optional<std::string> OtherSpelling(std::string_view text) {
  // Most texts have no sign of one, and are not copied.
  static constexpr std::string_view kSigns[] = {"10^",       " U ", "\\cup", "∪",  "C",
                                                " per cent", "$",   "USD",   "EUR"};
  if (std::ranges::none_of(kSigns, [&](std::string_view sign) { return text.find(sign) != text.npos; }))
    return std::nullopt;
  std::string other = WithBinomial(WithOr(WithCup(WithTimes(WithoutCurrency(text)))));
  absl::StrReplaceAll({{" per cent", " percent"}}, &other);
  if (other == text) return std::nullopt;
  return other;
}

std::optional<Expression> ReadPhrase(std::string_view text) {
  constexpr size_t kLongest = 64;
  const bool begins = !text.empty() && (absl::ascii_isalpha(text[0]) || text[0] == '{' || text[0] == '\\');
  if (text.size() > kLongest || text.size() < 2 || !begins) return std::nullopt;
  if (text.starts_with("\\text{") && text.find('}') + 1 == text.size())
    text = text.substr(6, text.size() - 7);
  std::string phrase = absl::AsciiStrToLower(std::string(text));
  absl::RemoveExtraAsciiWhitespace(&phrase);
  if (phrase == "{}") return Node(Kind::kSet, "");
  std::string_view rest = phrase;
  if (rest.ends_with(".")) rest.remove_suffix(1);
  for (const char* before : {"there is ", "there are ", "the "}) TakePrefix(&rest, before);
  if (rest == "empty set" || rest == "null set") return Node(Kind::kSet, "");
  TakePrefix(&rest, "set of ");
  static constexpr std::string_view kReals[] = {"all real numbers", "all reals",
                                                "any real number",  "every real number",
                                                "all real values",  "all the real numbers"};
  if (IsOneOf(rest, kReals)) return Node(Kind::kConstant, "R");
  // No solutions, no real solution exists
  for (const char* behind : {" exists", " exist"}) TakeSuffix(&rest, behind);
  if (!rest.starts_with("no ") || rest.size() == phrase.size()) return std::nullopt;
  if (!rest.ends_with(" solution") && !rest.ends_with(" solutions")) return std::nullopt;
  return Node(Kind::kText, std::string(rest));
}

}  // namespace temper::math
