// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/string.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace temper::math {
namespace {

bool IsInteger(std::string_view text) {
  if (!text.empty() && text[0] == '-') text.remove_prefix(1);
  return !text.empty() && std::ranges::all_of(text, [](char c) { return absl::ascii_isdigit(c); });
}

// The end of the argument at `at`: a group in braces or one character.
size_t ArgumentEnd(std::string_view text, size_t at) {
  if (at >= text.size()) return text.size();
  if (text[at] != '{') return at + 1;
  int depth = 0;
  for (size_t i = at; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth == 0) return i + 1;
  }
  return text.size();
}

// \sqrt3 -> \sqrt{3}, \frac1b -> \frac{1}{b}.
std::string WithBraces(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const std::string_view rest = std::string_view(text).substr(at);
    const int arguments = rest.starts_with("\\frac") ? 2 : rest.starts_with("\\sqrt") ? 1 : 0;
    if (arguments == 0) {
      out += text[at++];
      continue;
    }
    out += rest.substr(0, 5);
    at += 5;
    if (arguments == 1 && at < text.size() && text[at] == '[') continue;  // \sqrt[3]{2}
    for (int a = 0; a < arguments && at < text.size() && text[at] != '\\'; ++a) {
      const size_t end = ArgumentEnd(text, at);
      const std::string argument = text.substr(at, end - at);
      out += argument[0] == '{' ? argument : absl::StrCat("{", argument, "}");
      at = end;
    }
  }
  return out;
}

}  // namespace

std::string MathString(std::string_view answer) {
  std::string text(answer);
  absl::StrReplaceAll({{"\\\\", "\\"}}, &text);
  for (const char* gone : {"\n", "\\!", "\\left", "\\right", "^{\\circ}", "^\\circ", "\\$", "\\%", "%", "$",
                           "\\,", "\\;", "\\ "}) {
    absl::StrReplaceAll({{gone, ""}}, &text);
  }
  absl::StrReplaceAll({{"\\tfrac", "\\frac"}, {"\\dfrac", "\\frac"}}, &text);
  // A unit stands in \text at the end.
  if (const size_t unit = text.rfind("\\text{");
      unit != std::string::npos && unit > 0 && ArgumentEnd(text, unit + 5) == text.size()) {
    text.erase(unit);
  }
  // .5 is 0.5, wherever a number begins.
  for (size_t at = text.find('.'); at != std::string::npos; at = text.find('.', at + 2)) {
    const bool begins = at == 0 || (!absl::ascii_isdigit(text[at - 1]) && text[at - 1] != '}');
    if (begins && at + 1 < text.size() && absl::ascii_isdigit(text[at + 1])) text.insert(at, 1, '0');
  }
  absl::StrReplaceAll({{" ", ""}}, &text);
  if (const size_t equals = text.find('=');
      equals != std::string::npos && equals <= 2 && text.find('=', equals + 1) == std::string::npos) {
    text.erase(0, equals + 1);
  }
  text = WithBraces(text);
  if (text == "0.5") return "\\frac{1}{2}";
  if (const size_t slash = text.find('/'); slash != std::string::npos) {
    const std::string above = text.substr(0, slash), below = text.substr(slash + 1);
    if (IsInteger(above) && IsInteger(below)) return absl::StrCat("\\frac{", above, "}{", below, "}");
  }
  return text;
}

}  // namespace temper::math
