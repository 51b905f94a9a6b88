// SPDX-License-Identifier: Apache-2.0
#include "core/config/redact.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "core/one_of.h"

namespace temper {
namespace {

constexpr std::string_view kNameEnd = " \t\r\n\"'`\\=:;,&?<>(){}[]|/@#$";
constexpr std::string_view kValueEnd = " \t\r\n\"'`\\;,&<>(){}|";

// Keys of services that are known by how they begin, with the least that follows.
struct KeyShape {
  std::string_view start;
  size_t least;
};
constexpr KeyShape kKeyShapes[] = {
    {"hf_", 16},   {"sk-", 16},  {"sk_live_", 16}, {"ghp_", 16},  {"gho_", 16},  {"ghu_", 16},
    {"ghs_", 16},  {"ghr_", 16}, {"glpat-", 16},   {"xoxb-", 16}, {"xoxp-", 16}, {"AKIA", 12},
    {"ASIA", 12},  {"AIza", 20}, {"eyJ", 40},      {"gsk_", 16},  {"xai-", 16},  {"nvapi-", 16},
    {"pplx-", 16}, {"npm_", 16}, {"pypi-", 16},    {"r8_", 16},   {"ya29.", 16}, {"github_pat_", 16}};

constexpr size_t kLeastSecret = 4;  // shorter ones are in every text

bool IsKeyCharacter(char c) { return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.'; }

}  // namespace

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
    // TOKEN2 is a token.
    const std::string lower = absl::AsciiStrToLower(word.substr(0, word.find_last_not_of("0123456789") + 1));
    for (const char* part : {"secret", "passw", "passcode", "passphrase", "credential", "apikey"}) {
      if (lower.find(part) != lower.npos) return true;
    }
    return lower == "pwd" || lower == "creds" || lower == "authorization" || lower == "cookie" ||
           lower.ends_with("token") || lower == "key" || lower == "keys" || lower.ends_with("accesskey") ||
           lower.ends_with("privatekey");
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

namespace {

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
  // "[judge, --token,K]" has it behind a comma.
  if (text[at] != '=' && !colon && !(option && IsOneOf(text[at], " ,"))) return text.npos;
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

// Parts of a text, each with its end; ascending.
using Ranges = std::vector<std::pair<size_t, size_t>>;

Ranges LoginsOfUrls(std::string_view text) {
  Ranges found;
  for (size_t at = 0; (at = text.find("://", at)) != text.npos;) {
    at += 3;
    const size_t host = std::min(text.find_first_of(" \t\r\n\"'`<>/?#", at), text.size());
    const size_t end = text.substr(at, host - at).rfind('@');
    if (end == text.npos) continue;
    found.emplace_back(at, at + end);
    at += end;
  }
  return found;
}

Ranges NamedSecrets(std::string_view text) {
  Ranges found;
  const auto add = [&](size_t from, size_t to) {
    if (from < to && IsOneOf(text[from], "\"'")) ++from;
    if (from < to && (found.empty() || from >= found.back().second)) found.emplace_back(from, to);
  };
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find_first_of(kNameEnd, begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    const bool is_taken = !found.empty() && begin < found.back().second;
    if (!is_taken && !word.empty()) {
      for (const KeyShape& shape : kKeyShapes) {
        if (word.substr(0, shape.start.size()) != shape.start) continue;
        const bool whole = std::all_of(word.begin(), word.end(), IsKeyCharacter);
        if (whole && word.size() >= shape.start.size() + shape.least) add(begin, end);
      }
      size_t value = SecretOf(text, begin, end);
      if (value != text.npos) {
        const size_t scheme = std::min(text.find(' ', value), text.size());
        if (IsScheme(text.substr(value, scheme - value))) value = AfterBlanks(text, scheme);
        if (text.substr(value, kRedacted.size()) != kRedacted) add(value, EndOfSecret(text, value));
      } else if ((word == "Bearer" || word == "Basic") && end < text.size() && text[end] == ' ') {
        const size_t at = AfterBlanks(text, end);
        if (text.substr(at, kRedacted.size()) != kRedacted && EndOfSecret(text, at) > at + 11)
          add(at, EndOfSecret(text, at));
      }
    }
    begin = end + 1;
  }
  return found;
}

// A text as whoever decodes it reads it; at[i] is where its character i begins in the given one.
struct Reading {
  std::string text;
  std::vector<size_t> at;
};

// The character that %3D, \u003d, \x3d, \" or \n stands for, with the length of that; 0: for none.
size_t Escaped(std::string_view text, char* character) {
  const auto hex = [&](size_t at) {
    if (text.size() < at + 2 || !absl::ascii_isxdigit(text[at]) || !absl::ascii_isxdigit(text[at + 1]))
      return false;
    *character = static_cast<char>(std::stoi(std::string(text.substr(at, 2)), nullptr, 16));
    return *character > 0;
  };
  if (text[0] == '%' && hex(1)) return 3;
  if (text[0] != '\\' || text.size() < 2) return 0;
  if (text[1] == 'x' && hex(2)) return 4;
  if (text.substr(1, 3) == "u00" && hex(4)) return 6;
  const size_t letter = std::string_view("nrt\"'\\/").find(text[1]);
  if (letter == text.npos) return 0;
  *character = "\n\r\t\"'\\/"[letter];
  return 2;
}

Reading Decoded(const Reading& given) {
  Reading out;
  for (size_t i = 0; i < given.text.size();) {
    char character = given.text[i];
    const size_t length =
        IsOneOf(character, "%\\") ? Escaped(std::string_view(given.text).substr(i), &character) : 0;
    out.text += character;
    out.at.push_back(given.at[i]);
    i += std::max<size_t>(length, 1);
  }
  out.at.push_back(given.at.back());
  return out;
}

constexpr int kEncodings = 2;  // one in the other, as JSON in a URL

// `secrets`, where there is one, gets what is taken out.
std::string Take(std::string text, Ranges (*find)(std::string_view), std::vector<std::string>* secrets) {
  for (int encodings = 0; encodings <= kEncodings; ++encodings) {
    Reading reading{text, std::vector<size_t>(text.size() + 1)};
    std::iota(reading.at.begin(), reading.at.end(), 0);
    for (int i = 0; i < encodings; ++i) reading = Decoded(reading);
    std::string out;
    size_t done = 0;
    for (const auto& [from, to] : find(reading.text)) {
      const size_t begin = reading.at[from], end = reading.at[to];
      out.append(text, done, begin - done).append(kRedacted);
      if (secrets != nullptr) secrets->push_back(text.substr(begin, end - begin));
      if (secrets != nullptr && encodings > 0) secrets->push_back(reading.text.substr(from, to - from));
      done = end;
    }
    text = out.append(text, done);
    if (text.find_first_of("%\\") == text.npos) break;
  }
  return text;
}

}  // namespace

std::string RedactUrls(std::string_view text) { return Take(std::string(text), LoginsOfUrls, nullptr); }

std::string Redact(std::string_view text, std::vector<std::string>* taken) {
  return Take(Take(std::string(text), LoginsOfUrls, taken), NamedSecrets, taken);
}

std::string Redact(std::string_view text, const std::vector<std::string>& secrets) {
  std::string out(text);
  for (const std::string& secret : secrets) {
    if (secret.size() >= kLeastSecret) absl::StrReplaceAll({{secret, std::string(kRedacted)}}, &out);
  }
  return Redact(out);
}

}  // namespace temper
