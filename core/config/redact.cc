// SPDX-License-Identifier: Apache-2.0
#include "core/config/redact.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace temper {
namespace {

constexpr std::string_view kNameEnd = " \t\r\n\"'`\\=:;,&?<>(){}[]|/@#$";
constexpr std::string_view kValueEnd = " \t\r\n\"'`\\;,&<>(){}|";

// Keys of services that are known by how they begin, with the least that follows.
struct KeyShape {
  std::string_view start;
  size_t least;
};
constexpr KeyShape kKeyShapes[] = {{"hf_", 16},         {"sk-", 16},    {"ghp_", 16},  {"gho_", 16},
                                   {"github_pat_", 16}, {"glpat-", 16}, {"xoxb-", 16}, {"xoxp-", 16},
                                   {"AKIA", 12},        {"ASIA", 12},   {"AIza", 20},  {"eyJ", 40}};

constexpr size_t kLeastSecret = 4;  // shorter ones are in every text

bool IsOneOf(char c, std::string_view set) { return set.find(c) != set.npos; }
bool IsKeyCharacter(char c) { return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.'; }

// Words of api_key, X-Api-Key, apiKey and APIKEY.
bool SpeaksOfSecret(std::string_view name) {
  const std::string whole =
      absl::AsciiStrToLower(std::string(name.substr(std::min(name.find_first_not_of('-'), name.size()))));
  for (const char* other : {"pass", "auth", "sig", "signature", "bearer", "jwt", "x-auth", "pass-phrase"}) {
    if (whole == other) return true;
  }
  // MYKEY, as variables of the environment are named.
  if (name.size() > 3 && name.substr(name.size() - 3) == "KEY" &&
      std::none_of(name.begin(), name.end(), absl::ascii_islower))
    return true;
  std::string word;
  const auto is_secret = [&] {
    const std::string lower = absl::AsciiStrToLower(word);
    for (const char* part : {"secret", "passw", "passphrase", "credential", "apikey"}) {
      if (lower.find(part) != lower.npos) return true;
    }
    return lower == "pwd" || lower == "authorization" || lower == "cookie" || lower.ends_with("token") ||
           lower == "key" || lower == "keys" || lower.ends_with("accesskey") || lower.ends_with("privatekey");
  };
  for (size_t i = 0; i < name.size(); ++i) {
    const bool parts = !absl::ascii_isalnum(name[i]);
    const bool camel = i > 0 && absl::ascii_isupper(name[i]) && absl::ascii_islower(name[i - 1]);
    if ((parts || camel) && is_secret()) return true;
    if (parts || camel) word.clear();
    if (!parts) word += name[i];
  }
  return is_secret();
}

size_t EndOfSecret(std::string_view text, size_t at) {
  // What is quoted ends with its quote.
  if (at < text.size() && (text[at] == '"' || text[at] == '\''))
    return std::min(text.find(text[at], at + 1), text.size());
  return std::min(text.find_first_of(kValueEnd, at), text.size());
}

// Where the value of the name that ends at `end` begins; npos: nothing secret is given to it.
size_t SecretOf(std::string_view text, size_t begin, size_t end) {
  const bool quoted =
      begin > 0 && IsOneOf(text[begin - 1], "\"'") && end < text.size() && text[end] == text[begin - 1];
  size_t at = end + (quoted ? 1 : 0);
  while (quoted && at < text.size() && text[at] == ' ') ++at;
  const std::string_view name = text.substr(begin, end - begin);
  if (at >= text.size() || name.empty() || !SpeaksOfSecret(name)) return text.npos;
  const bool option = absl::StartsWith(std::string(name), "--");
  const bool header =
      name.find('-', 1) != name.npos || absl::EqualsIgnoreCase(std::string(name), "authorization");
  const bool colon = text[at] == ':' && (quoted || header);
  if (text[at] != '=' && !colon && !(option && text[at] == ' ')) return text.npos;
  ++at;
  while (at < text.size() && colon && text[at] == ' ') ++at;
  if (option && text.substr(at, 1) == "-") return text.npos;  // the next option
  return at;
}

// Of "Authorization: Bearer x": the scheme stays.
bool IsScheme(std::string_view word) {
  return absl::EqualsIgnoreCase(std::string(word), "bearer") ||
         absl::EqualsIgnoreCase(std::string(word), "basic");
}

size_t AfterBlanks(std::string_view text, size_t at) {
  return std::min(text.find_first_not_of(' ', at), text.size());
}

// `secrets`, where there is one, gets what is taken out.
std::string RedactUrlsTaking(std::string_view text, std::vector<std::string>* secrets) {
  std::string out;
  size_t done = 0;
  for (size_t at = 0; (at = text.find("://", at)) != text.npos;) {
    at += 3;
    const size_t host = std::min(text.find_first_of(" \t\r\n\"'`<>/?#", at), text.size());
    const size_t end = text.substr(at, host - at).rfind('@');
    if (end == text.npos) continue;
    out.append(text.substr(done, at - done)).append(kRedacted);
    if (secrets != nullptr) secrets->emplace_back(text.substr(at, end));
    done = at + end;
  }
  return out.append(text.substr(done));
}

std::string RedactTaking(std::string_view given, std::vector<std::string>* secrets) {
  const std::string text = RedactUrlsTaking(given, secrets);
  const std::string_view view = text;
  std::string out;
  size_t done = 0;
  const auto replace = [&](size_t from, size_t to) {
    if (from < done || from >= to) return;
    if (IsOneOf(text[from], "\"'")) ++from;
    out.append(view.substr(done, from - done));
    if (from < to) out.append(kRedacted);
    if (from < to && secrets != nullptr) secrets->emplace_back(view.substr(from, to - from));
    done = to;
  };
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find_first_of(kNameEnd, begin), text.size());
    const std::string_view word = view.substr(begin, end - begin);
    if (begin >= done && !word.empty()) {
      size_t value = SecretOf(view, begin, end);
      if (value != view.npos) {
        const size_t scheme = std::min(view.find(' ', value), view.size());
        if (IsScheme(view.substr(value, scheme - value))) value = AfterBlanks(view, scheme);
        if (view.substr(value, kRedacted.size()) != kRedacted) replace(value, EndOfSecret(view, value));
      } else if ((word == "Bearer" || word == "Basic") && end < text.size() && text[end] == ' ') {
        const size_t at = AfterBlanks(view, end);
        if (view.substr(at, kRedacted.size()) != kRedacted && EndOfSecret(view, at) > at + 11)
          replace(at, EndOfSecret(view, at));
      }
      for (const KeyShape& shape : kKeyShapes) {
        if (word.substr(0, shape.start.size()) != shape.start) continue;
        const bool whole = std::all_of(word.begin(), word.end(), IsKeyCharacter);
        if (whole && word.size() >= shape.start.size() + shape.least) replace(begin, end);
      }
    }
    begin = end + 1;
  }
  return out.append(view.substr(done));
}

// "TOKEN: x" and "Cookie: x", as a header's word of a command; in other texts a colon says something else.
void RedactHeaderTaking(std::string* word, std::vector<std::string>* secrets) {
  const size_t colon = word->find(": ");
  if (colon == std::string::npos || word->find(kRedacted) != std::string::npos) return;
  const std::string name = word->substr(0, colon);
  if (name.find_first_of(kNameEnd) != std::string::npos || !SpeaksOfSecret(name)) return;
  if (secrets != nullptr) secrets->push_back(word->substr(colon + 2));
  *word = absl::StrCat(name, ": ", std::string(kRedacted));
}

// curl's and wget's options whose value is NAME:PASSWORD.
bool IsLoginOption(std::string_view word) {
  return word == "-u" || word == "--user" || word == "-U" || word == "--proxy-user";
}

// The password of the login that begins at `begin`; false: it has none.
bool RedactLoginTaking(size_t begin, std::string* word, std::vector<std::string>* secrets) {
  const size_t colon = word->find(':', begin);
  const bool is_place = word->find('/', begin) != std::string::npos;
  if (is_place || colon == std::string::npos || colon + 1 == word->size()) return false;
  if (word->find(kRedacted, colon) != std::string::npos) return true;
  if (secrets != nullptr) secrets->push_back(word->substr(colon + 1));
  *word = absl::StrCat(word->substr(0, colon + 1), std::string(kRedacted));
  return true;
}

// What -k is given may be a count, a file, or nothing (curl's): a key is longer than those, and one word;
// where it could be a path it has capitals and digits too.
bool MayBeKey(std::string_view word) {
  const auto has = [&](auto is) { return std::any_of(word.begin(), word.end(), is); };
  const auto is_base64 = [](char c) { return IsKeyCharacter(c) || IsOneOf(c, "/+="); };
  if (word.size() < 8 || IsOneOf(word[0], "-./") || !std::all_of(word.begin(), word.end(), is_base64))
    return false;
  if (std::all_of(word.begin(), word.end(), absl::ascii_isdigit)) return false;
  return word.find('/') == word.npos || (has(absl::ascii_isdigit) && has(absl::ascii_isupper));
}

// Where the value that is glued to -k or -u begins ("-kKEY", "-k=KEY", "-uNAME:PASSWORD"); npos: there is
// none.
size_t GluedValue(std::string_view word) {
  if (word.size() < 4 || word[0] != '-' || !IsOneOf(word[1], "ku")) return word.npos;
  const size_t at = word[2] == '=' ? 3 : 2;
  const std::string_view value = word.substr(at);
  if (word[1] == 'u') return absl::ascii_isalnum(value[0]) && value.find(':') != value.npos ? at : word.npos;
  // "-keep-going" is a word.
  return MayBeKey(value) && (at == 3 || std::any_of(value.begin(), value.end(), absl::ascii_isdigit))
             ? at
             : word.npos;
}

void RedactWordsTaking(std::vector<std::string>* words, std::vector<std::string>* secrets) {
  for (size_t i = 0; i < words->size(); ++i) {
    std::string& word = (*words)[i];
    const bool is_option = absl::StartsWith(word, "-") && word.find_first_of("= ") == std::string::npos;
    word = RedactTaking(word, secrets);
    RedactHeaderTaking(&word, secrets);
    // A shell's command line.
    if (word.find(' ') != std::string::npos) {
      std::vector<std::string> inner = absl::StrSplit(word, ' ');
      RedactWordsTaking(&inner, secrets);
      word = absl::StrJoin(inner, " ");
      continue;
    }
    const size_t value = word.find('=');
    if (value != std::string::npos && IsLoginOption(word.substr(0, value)))
      RedactLoginTaking(value + 1, &word, secrets);
    if (const size_t glued = GluedValue(word); glued != std::string::npos) {
      if (word[1] == 'u') {
        RedactLoginTaking(glued, &word, secrets);
      } else {
        if (secrets != nullptr) secrets->push_back(word.substr(glued));
        word = absl::StrCat(word.substr(0, glued), std::string(kRedacted));
      }
      continue;
    }
    if (i + 1 < words->size() && IsLoginOption(word)) {
      if (RedactLoginTaking(0, &(*words)[i + 1], secrets)) ++i;
      continue;
    }
    if (word == "-k" && i + 1 < words->size() && MayBeKey((*words)[i + 1])) {
      if (secrets != nullptr) secrets->push_back((*words)[i + 1]);
      (*words)[++i] = kRedacted;
      continue;
    }
    if (!is_option || !SpeaksOfSecret(word) || i + 1 == words->size()) continue;
    std::string& next = (*words)[++i];
    if (next == kRedacted) continue;
    if (absl::StartsWith(next, "-")) {
      --i;
      continue;
    }
    if (secrets != nullptr) secrets->push_back(next);
    next = kRedacted;
  }
}

}  // namespace

std::string RedactUrls(std::string_view text) { return RedactUrlsTaking(text, nullptr); }

std::string Redact(std::string_view text) { return RedactTaking(text, nullptr); }

std::string Redact(std::string_view text, const std::vector<std::string>& secrets) {
  std::string out(text);
  for (const std::string& secret : secrets) {
    if (secret.size() >= kLeastSecret) absl::StrReplaceAll({{secret, std::string(kRedacted)}}, &out);
  }
  return Redact(out);
}

std::vector<std::string> RedactWords(std::vector<std::string> words) {
  RedactWordsTaking(&words, nullptr);
  return words;
}

std::vector<std::string> SecretsOf(const std::vector<std::string>& words) {
  std::vector<std::string> copy = words, secrets;
  RedactWordsTaking(&copy, &secrets);
  return secrets;
}

}  // namespace temper
