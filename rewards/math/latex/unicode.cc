// SPDX-License-Identifier: Apache-2.0
#include "rewards/math/latex/unicode.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/text.h"
#include "rewards/completion/tags.h"
#include "rewards/math/latex/characters.txt.h"

namespace temper::math {
namespace {

using CharacterTable = absl::flat_hash_map<std::string_view, std::string_view>;

// Of characters.txt, and of spaces and characters that nobody sees. A space follows a command, so that what
// comes next is not taken for a part of it.
const absl::flat_hash_map<std::string_view, std::string>& Characters() {
  static const auto& table = *[] {
    auto* made = new absl::flat_hash_map<std::string_view, std::string>;
    for (std::string_view rest = kCharacters; !rest.empty();) {
      std::string_view latex = TakePart(&rest, '\n');
      const std::string_view character = TakePart(&latex, ' ');
      const bool command = latex.size() > 1 && latex[0] == '\\' && absl::ascii_isalpha(latex.back());
      (*made)[character] = absl::StrCat(std::string(latex), command ? " " : "");
    }
    for (const std::string_view space :
         {"\u00a0", "\u2002", "\u2003", "\u2005", "\u2009", "\u200a", "\u202f", "\u3000"})
      (*made)[space] = " ";
    for (const std::string_view unseen : {"\u200b", "\u2060", "\ufeff", "\u2061", "\u2062"})
      (*made)[unseen] = "";
    return made;
  }();
  return table;
}

const CharacterTable& Scripts(bool super) {
  static const CharacterTable& above = *new CharacterTable{
      {"⁰", "0"}, {"¹", "1"}, {"²", "2"}, {"³", "3"}, {"⁴", "4"}, {"⁵", "5"}, {"⁶", "6"}, {"⁷", "7"},
      {"⁸", "8"}, {"⁹", "9"}, {"⁺", "+"}, {"⁻", "-"}, {"ⁿ", "n"}, {"ˣ", "x"}, {"ⁱ", "i"}};
  static const CharacterTable& below = *new CharacterTable{
      {"₀", "0"}, {"₁", "1"}, {"₂", "2"}, {"₃", "3"}, {"₄", "4"}, {"₅", "5"}, {"₆", "6"}, {"₇", "7"},
      {"₈", "8"}, {"₉", "9"}, {"₊", "+"}, {"₋", "-"}, {"ₙ", "n"}, {"ₓ", "x"}, {"ᵢ", "i"}};
  return super ? above : below;
}

std::string_view Utf8CharacterAt(std::string_view text, size_t at) {
  return text.substr(at, Utf8Length(text.substr(at)));
}

// Full-width ASCII; 0: it is something else.
char FullWidth(std::string_view character) {
  if (character.size() != 3 || character[0] != '\xEF') return 0;
  const unsigned code = 0xF000u | (character[1] & 0x3Fu) << 6 | (character[2] & 0x3Fu);
  return code >= 0xFF01 && code <= 0xFF5E ? static_cast<char>(code - 0xFF01 + '!') : '\0';
}

}  // namespace

AsciiMath ToAsciiMath(std::string_view text) {
  AsciiMath result;
  if (std::ranges::all_of(text, [](char c) { return absl::ascii_isascii(c); })) {
    result.text = std::string(text);
    return result;
  }
  size_t at = 0;
  const auto append = [&](std::string_view part, size_t from) {
    result.text += part;
    result.offsets.resize(result.text.size(), static_cast<uint32_t>(from));
  };
  while (at < text.size()) {
    const std::string_view character = Utf8CharacterAt(text, at);
    const size_t from = at;
    at += character.size();
    if (character.size() == 1) {
      append(character, from);
      continue;
    }
    if (const auto found = Characters().find(character); found != Characters().end()) {
      append(found->second, from);
    } else if (const char plain = FullWidth(character); plain != 0) {
      append({&plain, 1}, from);
    } else if (const bool super = Scripts(true).contains(character);
               super || Scripts(false).contains(character)) {
      append(super ? "^{" : "_{", from);
      for (at = from; at < text.size();) {
        const auto script = Scripts(super).find(Utf8CharacterAt(text, at));
        if (script == Scripts(super).end()) break;
        append(script->second, at);
        at += script->first.size();
      }
      append("}", from);
    } else {
      append(character, from);
    }
  }
  result.offsets.push_back(static_cast<uint32_t>(text.size()));
  return result;
}

}  // namespace temper::math
