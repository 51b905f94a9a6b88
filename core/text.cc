// SPDX-License-Identifier: Apache-2.0
#include "core/text.h"

#include <algorithm>

#include "absl/strings/str_format.h"

namespace temper {
namespace {

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

// Whether a character of more than one byte is not seen but obeyed: U+0080 to U+009F, which terminals take
// for escapes, line ends of Unicode, and those that turn the direction of writing.
bool Commands(std::string_view c) {
  if (c.size() == 2) return (c[0] == '\xC2' && c[1] < '\xA0') || c == "\xD8\x9C";
  if (c.size() != 3 || c[0] != '\xE2') return false;
  const std::string_view marks = "\x8E\x8F\xA8\xA9\xAA\xAB\xAC\xAD\xAE", isolates = "\xA6\xA7\xA8\xA9";
  return (c[1] == '\x80' && marks.find(c[2]) != marks.npos) ||
         (c[1] == '\x81' && isolates.find(c[2]) != isolates.npos);
}

}  // namespace

int Utf8Length(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto tail = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const unsigned a = byte(0), b = byte(1);
  if (a < 0x80) return 1;
  if (a >= 0xC2 && a <= 0xDF) return tail(1) ? 2 : 0;
  if (a >= 0xE0 && a <= 0xEF) {
    const bool good = tail(1) && tail(2) && !(a == 0xE0 && b < 0xA0) && !(a == 0xED && b >= 0xA0);
    return good ? 3 : 0;
  }
  if (a >= 0xF0 && a <= 0xF4) {
    const bool good = tail(1) && tail(2) && tail(3) && !(a == 0xF0 && b < 0x90) && !(a == 0xF4 && b >= 0x90);
    return good ? 4 : 0;
  }
  return 0;
}

size_t FirstInvalidUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const int length = Utf8Length(text.substr(i, 4));
    if (length == 0) return i;
    i += length;
  }
  return std::string_view::npos;
}

std::string Printable(std::string_view text, size_t limit) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (out.size() >= limit) return out + "...";
    const int length = Utf8Length(text.substr(i, 4));
    const auto byte = static_cast<unsigned char>(text[i]);
    if (Commands(text.substr(i, length))) {
      for (int j = 0; j < length; ++j)
        out += absl::StrFormat("\\x%02x", static_cast<unsigned char>(text[i + j]));
      i += length;
    } else if (length == 0 || byte < 0x20 || byte == 0x7F) {
      out += absl::StrFormat("\\x%02x", byte);
      ++i;
    } else {
      out += text.substr(i, length);
      i += length;
    }
  }
  return out;
}

std::string EscapeCommands(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t at) { return static_cast<unsigned>(static_cast<unsigned char>(text[at])); };
    const int length = byte(i) < 0x80 ? 1 : std::max(1, Utf8Length(text.substr(i, 4)));
    if (byte(i) == 0x7F) {
      out += "\\u007f";
    } else if (length > 1 && Commands(text.substr(i, length))) {
      unsigned code = byte(i) & (length == 2 ? 0x1Fu : 0x0Fu);
      for (int j = 1; j < length; ++j) code = code << 6 | (byte(i + j) & 0x3Fu);
      out += absl::StrFormat("\\u%04x", code);
    } else {
      out += text.substr(i, length);
    }
    i += length;
  }
  return out;
}

std::string Nearest(std::string_view word, const std::vector<std::string>& candidates) {
  if (word.size() > 200) return "";
  std::string begins;  // what the word is the beginning of, if that is one alone
  for (const std::string& candidate : candidates) {
    if (word.size() < 3 || candidate.compare(0, word.size(), word) != 0) continue;
    if (!begins.empty()) {
      begins.clear();
      break;
    }
    begins = candidate;
  }
  if (!begins.empty()) return begins;
  size_t best = std::max<size_t>(1, word.size() / 3) + 1;
  std::string nearest;
  for (const std::string& candidate : candidates) {
    if (const size_t distance = EditDistance(word, candidate); distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

}  // namespace temper
