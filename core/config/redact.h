// SPDX-License-Identifier: Apache-2.0
// Keys and passwords in texts that people write for programs: command lines, URLs, headers, settings.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace temper {

inline constexpr std::string_view kRedacted = "[redacted]";

// The text with kRedacted in place of what is given to a name that speaks of a secret (API_KEY=.., --token
// .., "password": "..", X-Api-Key: .., ?access_token=..), after Bearer or Basic, before a URL's @, and of
// what has the shape of a known service's key (hf_.., sk-.., AKIA..). A name speaks of one by a whole word of
// it: key, token, secret, password and the like; max_tokens and tokenizer do not. Redacting twice changes
// nothing.
std::string Redact(std::string_view text);

// Of a command line: also the word after --api-key.
std::vector<std::string> RedactWords(std::vector<std::string> words);

// What RedactWords takes out of them.
std::vector<std::string> SecretsOf(const std::vector<std::string>& words);

// The text redacted, and without these secrets of four bytes and more, wherever they stand in it.
std::string Redact(std::string_view text, const std::vector<std::string>& secrets);

// Only what stands before a URL's @.
std::string RedactUrls(std::string_view text);

}  // namespace temper
