// SPDX-License-Identifier: Apache-2.0
// Keys in the words of a command, and in those of a shell's line within one.
#include <algorithm>

#include "absl/strings/ascii.h"
#include "core/config/redact.h"
#include "core/one_of.h"

namespace temper {
namespace {

// A word of a command, and who gets what is taken out of it, if anybody.
struct Word {
  std::string* text;
  std::vector<std::string>* secrets;

  // From `begin` on all is a secret.
  void TakeFrom(size_t begin) const {
    if (begin >= text->size() || text->substr(begin) == kRedacted) return;
    if (secrets != nullptr) secrets->push_back(text->substr(begin));
    text->resize(begin);
    text->append(kRedacted);
  }
};

// curl's and wget's options whose value is NAME:PASSWORD.
bool IsLoginOption(std::string_view word) {
  return word == "-u" || word == "--user" || word == "-U" || word == "--proxy-user";
}

// Where the password of the login that begins at `begin` does; npos: it has none, as a URL, a path, or a user
// and a group.
size_t PasswordOf(std::string_view word, size_t begin) {
  const std::string_view login = word.substr(begin);
  const size_t colon = login.find(':');
  if (colon == login.npos || colon + 1 == login.size()) return word.npos;
  const bool are_numbers = login.find_first_not_of("0123456789:") == login.npos;
  if (are_numbers || login.find("://") != login.npos || IsOneOf(login[0], "/.")) return word.npos;
  return begin + colon + 1;
}

// Whether it may be a key where nothing else says so: long, one word, letters and digits.
bool LooksLikeKey(std::string_view word) {
  const auto has = [&](auto is) { return std::any_of(word.begin(), word.end(), is); };
  const auto may_be_in = [](char c) { return absl::ascii_isalnum(c) || IsOneOf(c, "_-+="); };
  return word.size() >= 8 && word[0] != '-' && std::all_of(word.begin(), word.end(), may_be_in) &&
         has(absl::ascii_isdigit) && has(absl::ascii_isalpha);
}

// What -k is given may be a count, a file, or nothing (curl's): a key is longer than those, and one word;
// where it could be a path it has capitals and digits too.
bool MayBeKey(std::string_view word) {
  const auto has = [&](auto is) { return std::any_of(word.begin(), word.end(), is); };
  const auto may_be_in = [](char c) { return absl::ascii_isalnum(c) || IsOneOf(c, "_-./+="); };
  if (word.size() < 8 || IsOneOf(word[0], "-./") || !std::all_of(word.begin(), word.end(), may_be_in))
    return false;
  if (std::all_of(word.begin(), word.end(), absl::ascii_isdigit)) return false;
  return word.find('/') == word.npos || (has(absl::ascii_isdigit) && has(absl::ascii_isupper));
}

// Where the secret of a word that has it glued to its name begins ("--token=KEY", "-kKEY", "-k=KEY",
// "-uNAME:PASSWORD", "token:KEY"); npos: there is none.
size_t GluedValue(std::string_view word) {
  const size_t equals = word.find('='), colon = word.find(':');
  if (equals != word.npos && IsLoginOption(word.substr(0, equals))) return PasswordOf(word, equals + 1);
  const bool is_name = equals != word.npos && std::all_of(word.begin(), word.begin() + equals, [](char c) {
                         return absl::ascii_isalnum(c) || IsOneOf(c, "_-.");
                       });
  if (is_name && SpeaksOfSecret(word.substr(0, equals))) return equals + 1;
  if (word.size() >= 4 && word[0] == '-' && IsOneOf(word[1], "ku")) {
    const size_t at = word[2] == '=' ? 3 : 2;
    if (word[1] == 'u') return absl::ascii_isalnum(word[at]) ? PasswordOf(word, at) : word.npos;
    const std::string_view value = word.substr(at);
    // "-keep-going" is a word.
    if (MayBeKey(value) && (at == 3 || std::any_of(value.begin(), value.end(), absl::ascii_isdigit)))
      return at;
  }
  if (colon != word.npos && SpeaksOfSecret(word.substr(0, colon)) && LooksLikeKey(word.substr(colon + 1)))
    return colon + 1;
  return word.npos;
}

// Where the secret of a word begins because of the one before it; npos: there is none.
size_t ValueAfter(std::string_view before, std::string_view word) {
  if (IsLoginOption(before)) return PasswordOf(word, 0);
  if (before == "-k") return MayBeKey(word) ? 0 : word.npos;
  const bool is_option = before.starts_with("-") && before.find('=') == before.npos;
  if (is_option && SpeaksOfSecret(before)) return word.starts_with("-") ? word.npos : 0;
  if (before.ends_with(":")) before.remove_suffix(1);
  return SpeaksOfSecret(before) && LooksLikeKey(word) ? 0 : word.npos;
}

void RedactWordsTaking(std::vector<std::string>* words, bool of_line, std::vector<std::string>* secrets);

constexpr std::string_view kBetween = " \t\r\n\"'`\\;|&<>(){}[],";

// The words of a shell's line, or of a list that is written as one word, each in its place.
std::string RedactLineTaking(std::string_view line, std::vector<std::string>* secrets) {
  std::vector<std::string> words, between(1);
  while (!line.empty()) {
    const bool redacted = line.starts_with(kRedacted);
    const size_t end = redacted ? kRedacted.size() : std::min(line.find_first_of(kBetween), line.size());
    if (end == 0) {
      between.back() += line[0];
      line.remove_prefix(1);
      continue;
    }
    // What is redacted belongs to the word before it, as in NAME:[redacted].
    if (redacted && between.back().empty() && !words.empty()) {
      words.back().append(kRedacted);
    } else {
      words.emplace_back(line.substr(0, end));
      between.emplace_back();
    }
    line.remove_prefix(end);
  }
  RedactWordsTaking(&words, true, secrets);
  std::string out = between[0];
  for (size_t i = 0; i < words.size(); ++i) out.append(words[i]).append(between[i + 1]);
  return out;
}

// "TOKEN: x" and "Cookie: x", as a header's word of a command; in other texts a colon says something else.
size_t HeaderValue(std::string_view word) {
  const size_t colon = word.find(": ");
  if (colon == word.npos || word.find(kRedacted) != word.npos) return word.npos;
  const bool is_name = word.substr(0, colon).find_first_of(" \t\r\n\"'`\\=:;,&?<>(){}[]|/@#$") == word.npos;
  return is_name && SpeaksOfSecret(word.substr(0, colon)) ? colon + 2 : word.npos;
}

void RedactWordsTaking(std::vector<std::string>* words, bool of_line, std::vector<std::string>* secrets) {
  std::string before;
  for (std::string& text : *words) {
    const Word word{&text, secrets};
    const bool is_line = !of_line && text.find_first_of(kBetween) != std::string::npos;
    const bool is_one = text.find_first_of(" \t\r\n\"'[{\\") == std::string::npos;
    std::string given = is_line ? "" : text;
    if (const size_t at = ValueAfter(before, text); at != std::string::npos) {
      word.TakeFrom(at);
      before.clear();
      continue;
    }
    if (const size_t at = is_one ? GluedValue(text) : HeaderValue(text); at != std::string::npos)
      word.TakeFrom(at);
    text = Redact(text, secrets);
    if (is_line) text = RedactLineTaking(text, secrets);
    before = std::move(given);
  }
}

}  // namespace

std::vector<std::string> RedactWords(std::vector<std::string> words) {
  RedactWordsTaking(&words, false, nullptr);
  return words;
}

std::vector<std::string> SecretsOf(const std::vector<std::string>& words) {
  std::vector<std::string> copy = words, secrets;
  RedactWordsTaking(&copy, false, &secrets);
  return secrets;
}

}  // namespace temper
