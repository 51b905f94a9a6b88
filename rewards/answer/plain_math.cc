// SPDX-License-Identifier: Apache-2.0
#include "rewards/answer/plain_math.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "rewards/completion/tags.h"

namespace temper {
namespace {

constexpr std::pair<std::string_view, std::string_view> kReplace[] = {{"\\dfrac", "\\frac"},
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
                                                                      {"°", " degrees"},
                                                                      {"−", "-"},
                                                                      {"\u2013", "-"},
                                                                      {"\u2044", "/"},
                                                                      {"÷", "/"},
                                                                      {"\u00a0", " "},
                                                                      {"\u2009", " "},
                                                                      {"\u202f", " "},
                                                                      {"\u3000", " "},
                                                                      {"½", " 1/2"},
                                                                      {"⅓", " 1/3"},
                                                                      {"⅔", " 2/3"},
                                                                      {"¼", " 1/4"},
                                                                      {"¾", " 3/4"},
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

std::string ReplaceAll(std::string_view text) {
  std::string plain;
  std::vector<bool> dropped;  // of each open brace
  for (size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    if (const size_t length = FontLength(rest); length > 0) {
      plain += ' ';
      dropped.push_back(true);
      at += length;
      continue;
    }
    const auto* found = std::find_if(std::begin(kReplace), std::end(kReplace), [&](const auto& pair) {
      const bool word = pair.first.size() > 2 && pair.first[0] == '\\' && Letter(pair.first, 1);
      return rest.starts_with(pair.first) &&
             !(word && pair.second.empty() && Letter(rest, pair.first.size()));
    });
    if (found != std::end(kReplace)) {
      plain += found->second;
      at += found->first.size();
      continue;
    }
    const auto byte = [&](size_t i) { return i < rest.size() ? static_cast<unsigned char>(rest[i]) : 0u; };
    if (byte(0) == 0xEF && (byte(1) == 0xBC || byte(1) == 0xBD) && byte(2) >= 0x80 && byte(2) <= 0xBF) {
      const unsigned code = 0xF000 + ((byte(1) & 0x3F) << 6) + (byte(2) & 0x3F);
      if (code >= 0xFF01 && code <= 0xFF5E) {
        plain += static_cast<char>(code - 0xFF01 + '!');
        at += 3;
        continue;
      }
    }
    const char c = text[at++];
    if (c == '{') dropped.push_back(false);
    if (c == '}' && !dropped.empty()) {
      const bool drop = dropped.back();
      dropped.pop_back();
      if (drop) continue;
    }
    plain += c;
  }
  return plain;
}

// Takes `open` and `close` off the two ends, where nothing of the kind is inside.
bool Unwrap(std::string_view* text, std::string_view open, std::string_view close) {
  if (text->size() <= open.size() + close.size() || !text->starts_with(open) || !text->ends_with(close)) {
    return false;
  }
  const std::string_view inside = text->substr(open.size(), text->size() - open.size() - close.size());
  if (inside.find(open) != inside.npos || inside.find(close) != inside.npos) return false;
  *text = Trim(inside);
  return true;
}

}  // namespace

std::string PlainMath(std::string_view text) {
  const auto undress = [](std::string_view bare) {
    bare = Trim(bare);
    for (bool again = true; again;) {
      again = Unwrap(&bare, "$$", "$$") || Unwrap(&bare, "$", "$") || Unwrap(&bare, "\\(", "\\)") ||
              Unwrap(&bare, "\\[", "\\]") || Unwrap(&bare, "**", "**") || Unwrap(&bare, "`", "`");
      if (bare.size() > 1 && bare.back() == '.' && bare[bare.size() - 2] != '.') {
        bare = Trim(bare.substr(0, bare.size() - 1));
        again = true;
      }
    }
    return bare;
  };
  const std::string replaced = ReplaceAll(undress(text));
  return std::string(undress(replaced));
}

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

}  // namespace temper
