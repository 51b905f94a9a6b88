// SPDX-License-Identifier: Apache-2.0
#include "core/json/python.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/ascii.h"
#include "core/check.h"

namespace temper {
namespace {

constexpr std::string_view kSpace = " \t\r\n";

bool IsDigit(char c) { return '0' <= c && c <= '9'; }

// One behind the string that begins at `at`, or the text's end.
size_t EndOfString(std::string_view text, size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return std::min(at + 1, text.size());
}

template <class T>
bool IsOutOfRange(std::string_view word) {
  T value;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc::result_out_of_range && end == word.data() + word.size();
}

// Of a word outside of strings; what is no number at all is left to the parser to refuse.
bool IsBeyondJson(std::string_view word) {
  if (word == "NaN" || word == "Infinity" || word == "-Infinity") return true;
  const std::string_view digits = word.substr(word[0] == '-' ? 1 : 0);
  if (digits.empty() || !IsDigit(digits[0]) || (digits[0] == '0' && digits.size() > 1 && IsDigit(digits[1])))
    return false;
  if (digits.find_first_not_of("0123456789") != digits.npos) return IsOutOfRange<double>(word);
  return word[0] == '-' ? IsOutOfRange<int64_t>(word) : IsOutOfRange<uint64_t>(word);
}

// One behind the value that begins at `at`.
size_t EndOfValue(std::string_view text, size_t at) {
  int depth = 0;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (depth == 0 && (c == ',' || c == '}' || c == ']')) break;
    if (c == '"') at = EndOfString(text, at) - 1;
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
  }
  while (kSpace.find(text[at - 1]) != kSpace.npos) --at;
  return at;
}

}  // namespace

std::string QuotePythonNumbers(std::string_view text) {
  std::string out;
  size_t done = 0;  // of the text, in `out`
  for (size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '"') {
      at = EndOfString(text, at);
    } else if (c == '-' || c == 'N' || c == 'I' || IsDigit(c)) {
      const auto is_of_word = [](char d) {
        return d == '-' || d == '+' || d == '.' || IsDigit(d) || absl::ascii_isalpha(d);
      };
      size_t end = at + 1;
      while (end < text.size() && is_of_word(text[end])) ++end;
      if (const std::string_view word = text.substr(at, end - at); IsBeyondJson(word)) {
        out.append(text.substr(done, at - done)).append("\"").append(word).append("\"");
        done = end;
      }
      at = end;
    } else {
      ++at;
    }
  }
  return out.append(text.substr(done));
}

absl::StatusOr<Json> ParsePythonJson(std::string_view text, const std::string& name) {
  return ParseJson(QuotePythonNumbers(text), name);
}

std::vector<WrittenMember> WrittenMembers(std::string_view text) {
  std::vector<WrittenMember> members;
  for (size_t at = text.find('{') + 1;;) {
    at = text.find_first_not_of(" \t\r\n,", at);
    if (text[at] == '}') return members;
    TEMPER_CHECK(text[at] == '"');
    const size_t end = EndOfString(text, at);
    const size_t value = text.find_first_not_of(" \t\r\n:", end);
    const size_t value_end = EndOfValue(text, value);
    members.push_back({text.substr(at + 1, end - at - 2), text.substr(value, value_end - value)});
    at = value_end;
  }
}

}  // namespace temper
