// SPDX-License-Identifier: Apache-2.0
// Conversations in the policy's own chat form.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "core/json/json.h"
#include "core/status.h"
#include "data/chat/template.h"
#include "data/tokenizer/tokenizer.h"

namespace temper {

struct Message {
  std::string role;     // user, assistant, system, tool, or what the template takes
  std::string content;  // the texts of its parts, one below the other; empty where it only calls tools
  Json fields;          // the whole message, as a template sees it (tool_calls, reasoning_content, ...)
};

// [{"role","content"}, ..], not empty; content is a text, a list of texts ({"type": "text", "text"}), or null
// where the message calls tools or only thinks. Images and other parts are errors. Errors name `where`.
absl::StatusOr<std::vector<Message>> ReadMessages(const Json& list, const std::string& where);

// How a tokenizer's policy writes conversations down: the template of its folder, as Transformers finds it:
// chat_template.jinja and additional_chat_templates/NAME.jinja, else chat_template in tokenizer_config.json
// (a text, or named ones). Of named ones `default` is taken, with tools `tool_use`. Without one,
// DeepSeek-R1's form or ChatML where the vocabulary has their role tokens; other tokenizers are an error.
// Content in parts goes to the template as it is where it takes parts, else as one text.
//
// The ids are those of Transformers' apply_chat_template, but that what a conversation says is never read as
// added tokens: those are the template's alone. Threads may share it; the tokenizer must outlive it.
class ChatForm {
 public:
  // `now` is what a template that asks for the time is told (strftime_now); nothing: that it may not.
  static absl::StatusOr<ChatForm> Of(const Tokenizer& tokenizer, std::optional<absl::Time> now);

  // Ends where the assistant is to write. `tools`: a list, or null.
  absl::StatusOr<std::vector<int32_t>> EncodePrompt(const std::vector<Message>& messages,
                                                    const Json& tools = Json()) const;
  // What the template writes for it; its errors without the cost of the tokens.
  absl::StatusOr<std::string> PromptText(const std::vector<Message>& messages,
                                         const Json& tools = Json()) const;

  // The prompt of all messages but the last, then that one, the assistant's, as the policy is to write it:
  // from `first_answer` on. Added tokens in the answer are read (<think>). Ends with the token that ends the
  // turn; white space that the template writes after it is left out. An error where the template's prompt is
  // not how its answered conversation begins. Where that is since the template opens the thinking itself and
  // drops past thinking (DeepSeek-R1's), an answer that begins with <think> goes on after the prompt.
  struct Answered {
    std::vector<int32_t> tokens;
    int64_t first_answer = 0;
  };
  absl::StatusOr<Answered> EncodeAnswered(const std::vector<Message>& messages,
                                          const Json& tools = Json()) const;

 private:
  ChatForm(const Tokenizer& tokenizer, std::optional<absl::Time> now) : tokenizer_(&tokenizer), now_(now) {}
  absl::Status ReadTemplates();
  absl::StatusOr<RenderedChat> Render(const std::vector<Message>& messages, size_t count, const Json& tools,
                                      bool add_generation_prompt) const;
  absl::StatusOr<std::vector<int32_t>> Encode(const RenderedChat& chat) const;
  // What the template writes after the last message's content.
  absl::StatusOr<std::string> EndOfAnswer(std::vector<Message> messages, const Json& tools) const;

  const Tokenizer* tokenizer_;
  std::optional<absl::Time> now_;
  std::optional<ChatTemplate> template_, tool_template_;
  Json variables_ = Json::object();  // the special tokens by name
};

}  // namespace temper
