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
// What is percent-encoded, or escaped as JSON or a shell does, is read as what it stands for. `taken`, where
// there is one, gets what is taken out.
std::string Redact(std::string_view text, std::vector<std::string>* taken = nullptr);

// Of a command: also the word after --api-key, and what its options and shell lines say in other ways.
std::vector<std::string> RedactWords(std::vector<std::string> words);

// What RedactWords takes out of them.
std::vector<std::string> SecretsOf(const std::vector<std::string>& words);

// The text redacted, and without these secrets of four bytes and more, wherever they stand in it.
std::string Redact(std::string_view text, const std::vector<std::string>& secrets);

// Only what stands before a URL's @.
std::string RedactUrls(std::string_view text);

// Whether a name does: api_key, X-Api-Key, --apiKey, TOKEN2.
bool SpeaksOfSecret(std::string_view name);

}  // namespace temper
