// SPDX-License-Identifier: Apache-2.0
#include "rewards/answer/answer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "core/one_of.h"
#include "core/text.h"
#include "rewards/completion/tags.h"
#include "rewards/math/latex/latex.h"
#include "rewards/math/latex/unicode.h"

namespace temper {
namespace {

// What is written in several ways, and its plain form.
constexpr std::pair<std::string_view, std::string_view> kPlain[] = {{"\\dfrac", "\\frac"},
                                                                    {"\\tfrac", "\\frac"},
                                                                    {"\\cfrac", "\\frac"},
                                                                    {"\\left", ""},
                                                                    {"\\right", ""},
                                                                    {"\\$", "$"},
                                                                    {"\\%", "%"},
                                                                    {"\\!", ""},
                                                                    {"\\,", " "},
                                                                    {"\\;", " "},
                                                                    {"\\:", " "},
                                                                    {"\\ ", " "},
                                                                    {"~", " "},
                                                                    {"{,}", ","},
                                                                    {"^\\circ", " degrees"},
                                                                    {"^{\\circ}", " degrees"},
                                                                    {"\\degree ", " degrees"},
                                                                    {"\t", " "},
                                                                    {"\r", " "},
                                                                    {"\n", " "}};

// Commands whose braces are only dress.
constexpr std::string_view kFonts[] = {"\\text",   "\\textbf", "\\textit", "\\textrm", "\\mathrm",
                                       "\\mathbf", "\\mathit", "\\mbox",   "\\bf",     "\\boldsymbol"};

bool Letter(std::string_view text, size_t at) { return at < text.size() && absl::ascii_isalpha(text[at]); }

// Bytes of the font command and its brace that `text` starts with; 0: none.
size_t FontLength(std::string_view text) {
  if (text[0] != '\\') return 0;
  for (const std::string_view font : kFonts) {
    if (text.starts_with(font) && text.size() > font.size() && text[font.size()] == '{')
      return font.size() + 1;
  }
  return 0;
}

// One plain form: without dress and fonts, one spelling of each sign.
std::string Plain(std::string_view text) {
  const std::string ascii =
      FirstInvalidUtf8(text) == text.npos ? math::ToAsciiMath(text).text : std::string(text);
  const std::string_view bare = math::Undress(ascii);
  std::string plain;
  std::vector<bool> dropped;  // of each open brace
  for (size_t at = 0; at < bare.size();) {
    const std::string_view rest = bare.substr(at);
    if (const size_t length = FontLength(rest); length > 0) {
      plain += ' ';
      dropped.push_back(true);
      at += length;
      continue;
    }
    const auto* found = std::ranges::find_if(kPlain, [&](const auto& pair) {
      const bool word = pair.first.size() > 2 && pair.first[0] == '\\' && Letter(pair.first, 1);
      return rest.starts_with(pair.first) &&
             !(word && pair.second.empty() && Letter(rest, pair.first.size()));
    });
    if (found != std::end(kPlain)) {
      plain += found->second;
      at += found->first.size();
      continue;
    }
    const char c = bare[at++];
    if (c == '{') dropped.push_back(false);
    if (c == '}' && !dropped.empty()) {
      const bool drop = dropped.back();
      dropped.pop_back();
      if (drop) continue;
    }
    plain += c;
  }
  return std::string(math::Undress(plain));
}

// The content of the last \boxed{..}; empty where its braces do not close within 4,096 bytes: an earlier box
// is not the answer then.
struct Boxed {
  bool found = false;
  std::string_view content;
};
Boxed LastBoxed(std::string_view text) {
  constexpr size_t kMostBytes = 4096;
  const size_t at = text.rfind("\\boxed{");
  if (at == text.npos) return {};
  const size_t begin = at + 7;
  int depth = 1;
  for (size_t i = begin; i < text.size() && i - begin <= kMostBytes; ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth == 0) return {true, Trim(text.substr(begin, i - begin))};
  }
  return {true, {}};
}

bool IsWord(char c) { return absl::ascii_isalnum(c) || c == '_' || static_cast<unsigned char>(c) >= 0x80; }

// `x = 5` -> x; nothing where no single letter is assigned to.
char Assigned(std::string_view text) {
  text = Trim(text);
  if (text.empty() || !absl::ascii_isalpha(text[0])) return 0;
  const std::string_view rest = TrimLeft(text.substr(1));
  return rest.starts_with("=") && rest.find('=', 1) == rest.npos ? text[0] : 0;
}

// Case, quotes and spaces that do not matter taken away.
std::string PlainText(std::string_view text) {
  std::string plain = Plain(text);
  if (plain.size() > 2 && plain.front() == '\'' && plain.back() == '\'')
    plain = plain.substr(1, plain.size() - 2);
  absl::RemoveExtraAsciiWhitespace(&plain);
  // A space says nothing in a formula, unless it stands between two words or numbers.
  std::string squeezed;
  for (size_t i = 0; i < plain.size(); ++i) {
    const bool keep =
        plain[i] != ' ' || (i > 0 && i + 1 < plain.size() && IsWord(plain[i - 1]) && IsWord(plain[i + 1]));
    if (keep) squeezed += plain[i];
  }
  // Names and words are compared without case; formulas (x is not X) with it.
  const bool formula = squeezed.find_first_of("0123456789\\+*/^=<>_|") != squeezed.npos;
  const bool word = squeezed.size() > 1;
  if (!formula && word) absl::AsciiStrToLower(&squeezed);
  return squeezed;
}

// Where the last number of `text` stands: its digits with what belongs to them.
std::string_view LastNumberText(std::string_view text) {
  size_t end = text.size();
  while (end > 0 && !absl::ascii_isdigit(text[end - 1])) --end;
  if (end == 0) return {};
  const size_t frac = text.rfind("\\frac", end);
  if (frac != text.npos && end - frac < 64) {
    size_t close = end;
    while (close < text.size() && text[close] == '}') ++close;
    const size_t begin = frac > 0 && text[frac - 1] == '-' ? frac - 1 : frac;
    const std::string_view fraction = text.substr(begin, close - begin);
    if (math::ParseNumber(fraction).has_value()) return fraction;
  }
  size_t begin = end;
  constexpr size_t kMost = 2048;
  const auto belongs = [](char c) { return absl::ascii_isdigit(c) || IsOneOf(c, ".,/"); };
  while (begin > 0 && end - begin < kMost && belongs(text[begin - 1])) --begin;
  while (begin < end && (text[begin] == ',' || text[begin] == '/' ||
                         (text[begin] == '.' && !absl::ascii_isdigit(text[begin + 1])))) {
    ++begin;
  }
  std::string_view number = text.substr(begin, end - begin);
  if (!math::ParseNumber(number).has_value()) {
    const size_t comma = number.find_last_of(",/.");
    if (comma != number.npos) begin += comma + 1;
  }
  size_t sign = begin;
  if (sign > 0 && text[sign - 1] == '$') --sign;
  const auto opens = [&](size_t at) { return at == 0 || !(IsWord(text[at - 1]) || text[at - 1] == ')'); };
  if (sign > 0 && text[sign - 1] == '-' && opens(sign - 1)) begin = sign - 1;
  if (sign >= 3 && text.substr(sign - 3, 3) == "\u2212" && opens(sign - 3)) begin = sign - 3;
  size_t after = end;
  if (after < text.size() && text[after] == '\\') ++after;
  if (after < text.size() && text[after] == '%') end = after + 1;
  for (const std::string_view percent : {" percent", " per cent"}) {
    if (text.substr(end).starts_with(percent)) end += percent.size();
  }
  return text.substr(begin, end - begin);
}

std::string_view AfterAnswerIs(std::string_view text) {
  const size_t behind =
      BehindLast(text, {"answer is", "Answer is", "answer:", "Answer:", "ANSWER:", "答案是", "答案为"});
  if (behind == text.npos) return {};
  const std::string_view rest = text.substr(behind);
  return Trim(rest.substr(0, rest.find('\n')));
}

std::string LastChoice(std::string_view text) {
  const std::string_view after = AfterAnswerIs(text);
  if (const char choice = ReadChoice(after); choice != 0) return std::string(1, choice);
  for (size_t i = text.size(); i-- > 2;) {  // (B)
    if (text[i] == ')' && text[i - 2] == '(' && text[i - 1] >= 'A' && text[i - 1] <= 'J')
      return {text[i - 1]};
  }
  const std::string_view line = LastLine(text);
  const char choice = ReadChoice(line.substr(0, kMaxAnswerBytes));
  return choice == 0 ? "" : std::string(1, choice);
}

std::string FindIn(std::string_view text, AnswerKind kind) {
  const size_t close = text.rfind("</answer>");
  if (close != text.npos) {
    const size_t open = text.substr(0, close).rfind("<answer>");
    if (open != text.npos && !Trim(text.substr(open + 8, close - open - 8)).empty()) {
      return std::string(Trim(text.substr(open + 8, close - open - 8)).substr(0, kMaxAnswerBytes + 1));
    }
  }
  if (const Boxed boxed = LastBoxed(text); boxed.found) return std::string(boxed.content);
  if (const size_t at = text.rfind("####"); at != text.npos) {
    const std::string_view rest = text.substr(at + 4);
    const std::string_view line = Trim(rest.substr(0, rest.find('\n')));
    if (!line.empty()) return std::string(line.substr(0, kMaxAnswerBytes + 1));
  }
  if (kind == AnswerKind::kNumber) return std::string(LastNumberText(text));
  if (kind == AnswerKind::kChoice) return LastChoice(text);
  const std::string_view after = AfterAnswerIs(text);
  return std::string((after.empty() ? LastLine(text) : after).substr(0, kMaxAnswerBytes + 1));
}

}  // namespace

std::string_view Core(std::string_view answer) {
  if (const size_t at = answer.rfind("####"); at != answer.npos) answer = answer.substr(at + 4);
  if (const Boxed boxed = LastBoxed(answer); boxed.found) answer = boxed.content;
  return Trim(answer);
}

char ReadChoice(std::string_view text) {
  if (text.size() > kMaxAnswerBytes) return 0;
  const std::string plain = Plain(text);
  std::string_view bare = Trim(plain);
  for (const std::string_view word : {"option ", "Option ", "choice ", "Choice "}) {
    if (bare.starts_with(word)) bare = Trim(bare.substr(word.size()));
  }
  if (bare.size() >= 4 && bare.starts_with("**")) bare = bare.substr(2);
  const bool bracket = !bare.empty() && (bare[0] == '(' || bare[0] == '[');
  if (bracket) bare = Trim(bare.substr(1));
  if (bare.empty()) return 0;
  const char letter = absl::ascii_toupper(bare[0]);
  if (letter < 'A' || letter > 'J') return 0;
  std::string_view rest = bare.substr(1);
  if (bracket) {
    rest = TrimLeft(rest);
    if (!rest.starts_with(")") && !rest.starts_with("]")) return 0;
    rest = rest.substr(1);
  } else if (!rest.empty()) {
    if (!IsOneOf(rest[0], ".):")) return 0;
    rest = rest.substr(1);
    if (!rest.empty() && rest[0] != ' ' && rest[0] != '*') return 0;
  }
  // "B. Paris" is B; "B. or C." and "B) C)" are nothing.
  for (size_t i = 0; i < rest.size(); ++i) {
    const bool alone = (i == 0 || !IsWord(rest[i - 1])) && (i + 1 == rest.size() || !IsWord(rest[i + 1]));
    const bool marked = i + 1 < rest.size() && (rest[i + 1] == ')' || rest[i + 1] == ']');
    if (alone && rest[i] >= 'A' && rest[i] <= 'J') return 0;
    if (alone && marked && rest[i] >= 'a' && rest[i] <= 'j') return 0;
  }
  return letter;
}

std::optional<Answer> ReadReference(std::string_view text) {
  const std::string_view core = Core(text);
  if (core.empty() || core.size() > kMaxAnswerBytes) return std::nullopt;
  Answer answer;
  answer.text = PlainText(core);
  std::string_view value = core;
  if (Assigned(core) != 0) value = core.substr(core.find('=') + 1);
  if (const std::optional<math::Number> number = math::ParseNumber(value)) {
    answer.kind = AnswerKind::kNumber;
    answer.number = *number;
    return answer;
  }
  const bool choice_form = core.size() > 1 || absl::ascii_isupper(core[0]);
  const char choice = choice_form && Plain(core).size() <= 4 ? ReadChoice(core) : 0;
  if (choice != 0) {
    answer.kind = AnswerKind::kChoice;
    answer.choice = choice;
  }
  if (answer.text.empty()) return std::nullopt;
  return answer;
}

bool SameAnswer(const Answer& reference, std::string_view candidate) {
  const std::string_view core = Core(candidate);
  if (core.empty() || core.size() > kMaxAnswerBytes) return false;
  switch (reference.kind) {
    case AnswerKind::kChoice:
      return ReadChoice(core) == reference.choice;
    case AnswerKind::kNumber: {
      const char mine = Assigned(reference.text), theirs = Assigned(core);
      if (mine != 0 && theirs != 0 && mine != theirs) return false;
      const std::optional<math::Number> number =
          math::ParseNumber(theirs != 0 ? core.substr(core.find('=') + 1) : core);
      return number.has_value() && math::SameNumber(reference.number, *number);
    }
    case AnswerKind::kText:
      return PlainText(core) == reference.text;
  }
  return false;
}

std::string FindAnswer(std::string_view text, AnswerKind kind) {
  const size_t think = text.rfind("</think>");
  if (think != text.npos) {
    std::string found = FindIn(text.substr(think + 8), kind);
    if (!found.empty()) return found;
  }
  return FindIn(text, kind);
}

std::string AnswerKey(std::string_view answer) {
  const std::string_view core = Core(answer);
  if (core.size() > kMaxAnswerBytes) return std::string(core);
  if (const std::optional<math::Number> number = math::ParseNumber(core))
    return math::ToString(number->value);
  if (core.size() <= 4) {
    if (const char choice = ReadChoice(core); choice != 0) return std::string(1, choice);
  }
  return PlainText(core);
}

}  // namespace temper
