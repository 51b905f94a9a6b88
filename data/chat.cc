// SPDX-License-Identifier: Apache-2.0
#include "data/chat.h"

#include "absl/strings/str_cat.h"
#include "core/text.h"

namespace temper {
namespace {

// What stands around a message. DeepSeek-V3 and R1: a beginning, then the system's words bare; ChatML (Qwen):
// the role as text after one token for all.
struct Form {
  bool chatml = false;
  int32_t begin = -1;  // of the conversation; ChatML: of a message
  int32_t user = -1, assistant = -1;
  int32_t end = -1;  // of the assistant's turn; ChatML: of every message
};

absl::StatusOr<Form> FormOf(const Tokenizer& tokenizer) {
  const auto id = [&](std::string_view token) { return tokenizer.TokenId(token).value_or(-1); };
  const Form deepseek{false, id("<｜begin▁of▁sentence｜>"), id("<｜User｜>"), id("<｜Assistant｜>"),
                      id("<｜end▁of▁sentence｜>")};
  if (deepseek.begin >= 0 && deepseek.user >= 0 && deepseek.assistant >= 0 && deepseek.end >= 0)
    return deepseek;
  const Form chatml{true, id("<|im_start|>"), -1, -1, id("<|im_end|>")};
  if (chatml.begin >= 0 && chatml.end >= 0) return chatml;
  return absl::InvalidArgumentError(
      "messages need role tokens, and the tokenizer has neither <｜User｜> and <｜Assistant｜> nor "
      "<|im_start|> and "
      "<|im_end|>; give the problem as text (question)");
}

class Encoder {
 public:
  Encoder(const Tokenizer& tokenizer, const Form& form) : tokenizer_(tokenizer), form_(form) {}

  absl::Status Add(const Message& message) {
    if (form_.chatml) {
      tokens_.push_back(form_.begin);
      TEMPER_RETURN_IF_ERROR(Text(absl::StrCat(message.role, "\n", message.content)));
      tokens_.push_back(form_.end);
      return Text("\n");
    }
    if (message.role != "system") tokens_.push_back(message.role == "user" ? form_.user : form_.assistant);
    TEMPER_RETURN_IF_ERROR(Text(message.content));
    if (message.role == "assistant") tokens_.push_back(form_.end);
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<int32_t>> Encode(const std::vector<Message>& messages) {
    if (!form_.chatml) tokens_.push_back(form_.begin);
    for (const Message& message : messages) TEMPER_RETURN_IF_ERROR(Add(message));
    tokens_.push_back(form_.chatml ? form_.begin : form_.assistant);
    if (form_.chatml) TEMPER_RETURN_IF_ERROR(Text("assistant\n"));
    return std::move(tokens_);
  }

 private:
  absl::Status Text(const std::string& text) {
    const Tokenizer::EncodeOptions plain{.added_tokens = false, .add_special_tokens = false};
    TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer_.Encode(text, plain));
    tokens_.insert(tokens_.end(), ids.begin(), ids.end());
    return absl::OkStatus();
  }

  const Tokenizer& tokenizer_;
  const Form form_;
  std::vector<int32_t> tokens_;
};

}  // namespace

absl::StatusOr<std::vector<Message>> ReadMessages(const Json& list, const std::string& where) {
  if (!list.is_array() || list.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": messages are a list of {\"role\", \"content\"}"));
  }
  std::vector<Message> messages;
  for (const Json& item : list) {
    const std::string name = absl::StrCat(where, ": message ", messages.size() + 1);
    Message message;
    TEMPER_ASSIGN_OR_RETURN(message.role, GetString(item, "role", name));
    TEMPER_ASSIGN_OR_RETURN(message.content, GetString(item, "content", name));
    const bool known = message.role == "user" || message.role == "assistant" || message.role == "system";
    if (!known || (message.role == "system" && !messages.empty())) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": role: is ", Printable(message.role, 60),
                       "; temper knows user, assistant, and system as the first"));
    }
    messages.push_back(std::move(message));
  }
  return messages;
}

absl::StatusOr<std::vector<int32_t>> EncodeChat(const std::vector<Message>& messages,
                                                const Tokenizer& tokenizer) {
  TEMPER_ASSIGN_OR_RETURN(const Form form, FormOf(tokenizer));
  return Encoder(tokenizer, form).Encode(messages);
}

absl::StatusOr<int32_t> EndOfTurn(const Tokenizer& tokenizer) {
  TEMPER_ASSIGN_OR_RETURN(const Form form, FormOf(tokenizer));
  return form.end;
}

}  // namespace temper
