// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/config/config.h"
#include "data/chat/chat.h"
#include "data/dataset/problem_row.h"
#include "data/tokenizer/tokenizer.h"

namespace temper {

enum class PromptTemplate {
  kNone,
  kR1,   // R1-Zero's User/Assistant template (DeepSeek-R1, table 1), ends in "<think>"
  kChat  // the policy's chat template around one message of the user
};

// How a problem becomes a prompt: of recipes, `eval` and `sample` alike.
struct PromptOptions {
  PromptTemplate prompt_template = PromptTemplate::kNone;
  std::string system, suffix;

  template <class V>
  void Fields(V& v) {
    v.Choice(
        "template", prompt_template,
        {{"none", PromptTemplate::kNone}, {"r1", PromptTemplate::kR1}, {"chat", PromptTemplate::kChat}},
        "What is put around a problem that is text: nothing; r1: R1-Zero's User/Assistant template; chat: "
        "the policy's chat template, as one message of the user. Messages are in the chat template anyway, "
        "but with r1.");
    v.Field("system", system,
            "template chat: the system message before it; a row or conversation that has one keeps its own.");
    v.Field(
        "suffix", suffix,
        "Put behind each problem (of a conversation: behind the user's last message) as it stands, such as "
        "\"\\nPut the final answer in \\\\boxed{}.\" (YAML's escapes; in a shell $'\\nPut it in "
        "\\\\boxed{}.').");
    v.Check(system.empty() || prompt_template == PromptTemplate::kChat, "system", "needs template: chat");
  }
};

// A supervised document: the loss counts tokens from first_target on.
struct Document {
  std::vector<int32_t> tokens;
  int64_t first_target = 1;
};

// Makes prompts of problems, and documents of problems that are answered. Messages become the tokens of the
// policy's own chat form (data/chat/chat.h). Their content, and a problem inside a template, are never read
// as special tokens. Without a template a text is the prompt as it stands, special tokens in it included; one
// that begins with the token that the tokenizer puts first, as what a chat template wrote does, has it once.
// Threads may share it.
class PromptForm {
 public:
  // The tokenizer must outlive it. `now` is for chat templates that ask for it.
  PromptForm(const Tokenizer& tokenizer, PromptOptions options, std::optional<absl::Time> now);

  // Errors: what the chat template refuses, or that there is none where one is needed; several messages for
  // r1.
  absl::StatusOr<std::string> Text(const ProblemRow& problem) const;
  absl::StatusOr<std::vector<int32_t>> Tokens(const ProblemRow& problem) const;
  // The messages that the chat template is asked with, the options' own included; null where it is not.
  Json Conversation(const ProblemRow& problem) const;
  // The prompt and what a policy sampled after it, up to the token that ends its turn: whatever the template
  // would make of the same text as a message that was said.
  absl::StatusOr<Document> Sampled(const ProblemRow& problem, const std::string& completion) const;
  // The prompt and what the assistant says to it, up to the token that ends it: in the chat template
  // ChatForm::EncodeAnswered's, else the first end token.
  absl::StatusOr<Document> Answered(const ProblemRow& problem, const Message& answer) const;

 private:
  bool is_r1() const { return options_.prompt_template == PromptTemplate::kR1; }
  bool IsChat(const ProblemRow& problem) const {
    return options_.prompt_template == PromptTemplate::kChat || (!is_r1() && !problem.messages.empty());
  }
  std::vector<Message> MessagesOf(const ProblemRow& problem) const;
  absl::StatusOr<std::vector<int32_t>> TextTokens(const std::string& text) const;
  std::vector<int32_t> EndOfTurn(const ProblemRow& problem) const;
  absl::Status Check(const ProblemRow& problem) const;

  const Tokenizer& tokenizer_;
  const PromptOptions options_;
  const absl::StatusOr<ChatForm> chat_;  // an error where it is needed
};

// The text of the R1-Zero template around a problem, and of a problem without it, if it is in it.
std::string R1Prompt(std::string_view problem);
std::string_view WithoutR1(std::string_view text);
// Its tokens: the template's tags are tokens where the tokenizer has such; in the problem they are words.
absl::StatusOr<std::vector<int32_t>> EncodeR1(std::string_view problem, const Tokenizer& tokenizer);

// prompt + completion (+ the first end token); first_target is the completion's first token.
absl::StatusOr<Document> MakeDocument(const std::string& prompt, const std::string& completion,
                                      const Tokenizer& tokenizer);

}  // namespace temper
