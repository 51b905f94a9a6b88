// SPDX-License-Identifier: Apache-2.0
#include "data/tokenizer/byte_level.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/text.h"

namespace temper {
namespace {

// Bytes that Latin-1 prints stand for themselves; the others are U+0100 and up, in order.
struct Alphabet {
  std::array<std::string, 256> characters;
  std::array<int16_t, 324> bytes;  // by code point; -1: none

  Alphabet() {
    bytes.fill(-1);
    int next = 256;
    for (int byte = 0; byte < 256; ++byte) {
      const bool prints = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
      const int code = prints ? byte : next++;
      bytes[code] = static_cast<int16_t>(byte);
      characters[byte] = code < 0x80 ? std::string(1, static_cast<char>(code))
                                     : std::string{static_cast<char>(0xC0 | code >> 6),
                                                   static_cast<char>(0x80 | (code & 0x3F))};
    }
  }
};

const Alphabet& GetAlphabet() {
  static const Alphabet* const alphabet = new Alphabet;
  return *alphabet;
}

// How many bytes at the start of `text`, which is not UTF-8 there, could have begun one character.
size_t BrokenLength(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned a = byte(0), b = byte(1);
  const bool second = (b & 0xC0) == 0x80;
  if (a >= 0xE0 && a <= 0xEF) {
    return second && !(a == 0xE0 && b < 0xA0) && !(a == 0xED && b >= 0xA0) ? 2 : 1;
  }
  if (a >= 0xF0 && a <= 0xF4 && second && !(a == 0xF0 && b < 0x90) && !(a == 0xF4 && b >= 0x90)) {
    return (byte(2) & 0xC0) == 0x80 ? 3 : 2;
  }
  return 1;
}

}  // namespace

std::string ToByteLevel(std::string_view bytes) {
  const Alphabet& alphabet = GetAlphabet();
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const unsigned char byte : bytes) text += alphabet.characters[byte];
  return text;
}

bool AppendFromByteLevel(std::string_view token, std::string& bytes) {
  const Alphabet& alphabet = GetAlphabet();
  const size_t before = bytes.size();
  for (size_t i = 0; i < token.size();) {
    const auto lead = static_cast<unsigned char>(token[i]);
    const int length = lead < 0x80 ? 1 : Utf8Length(token.substr(i, 4));
    const unsigned code = length == 1   ? lead
                          : length == 2 ? (lead & 0x1Fu) << 6 | (token[i + 1] & 0x3Fu)
                                        : ~0u;
    if (code >= alphabet.bytes.size() || alphabet.bytes[code] < 0) {
      bytes.resize(before);
      return false;
    }
    bytes += static_cast<char>(alphabet.bytes[code]);
    i += length;
  }
  return true;
}

std::string LossyUtf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (size_t i = 0; i < bytes.size();) {
    const int length = Utf8Length(bytes.substr(i, 4));
    if (length > 0) {
      text += bytes.substr(i, length);
      i += length;
    } else {
      text += "\xEF\xBF\xBD";
      i += BrokenLength(bytes.substr(i, 4));
    }
  }
  return text;
}

size_t UnfinishedUtf8(std::string_view bytes) {
  for (size_t count = 1; count <= std::min<size_t>(bytes.size(), 3); ++count) {
    const std::string_view tail = bytes.substr(bytes.size() - count);
    const auto lead = static_cast<unsigned char>(tail[0]);
    if ((lead & 0xC0) == 0x80) continue;
    const size_t length = lead < 0xC2 || lead > 0xF4 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    return count < length && BrokenLength(tail) == count ? count : 0;
  }
  return 0;
}

}  // namespace temper
