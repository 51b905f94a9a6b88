// SPDX-License-Identifier: Apache-2.0
// Conversations in the policy's own chat form.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/status.h"
#include "data/tokenizer.h"

namespace temper {

struct Message {
  std::string role;  // system (first, or none), user, assistant
  std::string content;
};

// [{"role","content"}, ..], not empty. Errors name `where`.
absl::StatusOr<std::vector<Message>> ReadMessages(const Json& list, const std::string& where);

// The messages between the tokenizer's role tokens, DeepSeek's or ChatML's; other tokenizers are an error.
// Content is never read as special tokens. Ends where the assistant is to write.
absl::StatusOr<std::vector<int32_t>> EncodeChat(const std::vector<Message>& messages,
                                                const Tokenizer& tokenizer);

// The token that ends the assistant's turn in that form.
absl::StatusOr<int32_t> EndOfTurn(const Tokenizer& tokenizer);

}  // namespace temper
