// SPDX-License-Identifier: Apache-2.0
#include "data/dataset/prompt_form.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/status.h"

namespace temper {
namespace {

constexpr Tokenizer::EncodeOptions kWords{.added_tokens = false, .add_special_tokens = false};
constexpr Tokenizer::EncodeOptions kTags{.added_tokens = true, .add_special_tokens = false};

// DeepSeek-R1 (arXiv 2501.12948), table 1, around the problem.
constexpr char kR1Head[] =
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The "
    "assistant first thinks about the reasoning process in the mind and then provides the user with the "
    "answer. "
    "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, "
    "respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>. User: ";
constexpr char kR1Tail[] = ". Assistant: <think>";

absl::StatusOr<Document> WithCompletion(std::vector<int32_t> prompt, const std::string& completion,
                                        const std::vector<int32_t>& end, const Tokenizer& tokenizer) {
  // Nothing predicts a text's very first token.
  Document document{std::move(prompt), 0};
  document.first_target = std::max<int64_t>(1, static_cast<int64_t>(document.tokens.size()));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer.Encode(completion, kTags));
  document.tokens.insert(document.tokens.end(), ids.begin(), ids.end());
  document.tokens.insert(document.tokens.end(), end.begin(), end.end());
  return document;
}

Message Says(const char* role, const std::string& content) {
  return {role, content, Json{{"role", role}, {"content", content}}};
}

}  // namespace

PromptForm::PromptForm(const Tokenizer& tokenizer, PromptOptions options, std::optional<absl::Time> now)
    : tokenizer_(tokenizer), options_(std::move(options)), chat_(ChatForm::Of(tokenizer, now)) {}

std::vector<Message> PromptForm::MessagesOf(const ProblemRow& problem) const {
  std::vector<Message> messages = problem.messages;
  if (messages.empty()) messages.push_back(Says("user", problem.text));
  const auto last = std::find_if(messages.rbegin(), messages.rend(),
                                 [](const Message& message) { return message.role == "user"; });
  if (!options_.suffix.empty() && last != messages.rend()) {
    last->content += options_.suffix;
    last->fields["content"] = last->content;
  }
  const std::string& system = problem.system.empty() ? options_.system : problem.system;
  if (!system.empty() && messages[0].role != "system")
    messages.insert(messages.begin(), Says("system", system));
  return messages;
}

absl::Status PromptForm::Check(const ProblemRow& problem) const {
  if (is_r1() && problem.messages.size() > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the r1 template takes one message of the user; here are ", problem.messages.size()));
  }
  if (!IsChat(problem) || chat_.ok()) return absl::OkStatus();
  if (!problem.messages.empty()) return chat_.status();
  return absl::InvalidArgumentError(
      "template: chat, and the model has no chat template: write template: none, or put its "
      "chat_template.jinja "
      "beside its tokenizer.json");
}

absl::StatusOr<std::string> PromptForm::Text(const ProblemRow& problem) const {
  TEMPER_RETURN_IF_ERROR(Check(problem));
  if (!IsChat(problem)) {
    const std::string text = problem.text + options_.suffix;
    return is_r1() ? R1Prompt(text) : text;
  }
  return chat_->PromptText(MessagesOf(problem), problem.tools);
}

absl::StatusOr<std::vector<int32_t>> PromptForm::Tokens(const ProblemRow& problem) const {
  TEMPER_RETURN_IF_ERROR(Check(problem));
  if (!IsChat(problem)) {
    const std::string text = problem.text + options_.suffix;
    return is_r1() ? EncodeR1(text, tokenizer_) : TextTokens(text);
  }
  return chat_->EncodePrompt(MessagesOf(problem), problem.tools);
}

absl::StatusOr<std::vector<int32_t>> PromptForm::TextTokens(const std::string& text) const {
  TEMPER_ASSIGN_OR_RETURN(std::vector<int32_t> tokens, tokenizer_.Encode(text));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> of_nothing, tokenizer_.Encode(""));
  if (!of_nothing.empty() && tokens.size() > 1 && tokens[0] == of_nothing[0] && tokens[1] == of_nothing[0])
    tokens.erase(tokens.begin());
  return tokens;
}

Json PromptForm::Conversation(const ProblemRow& problem) const {
  if (!IsChat(problem)) return Json();
  Json messages = Json::array();
  for (const Message& message : MessagesOf(problem)) messages.push_back(message.fields);
  return messages;
}

// Of a template that cannot show how it ends a turn, and of no template, the first end token.
std::vector<int32_t> PromptForm::EndOfTurn(const ProblemRow& problem) const {
  if (IsChat(problem)) {
    std::vector<Message> messages = MessagesOf(problem);
    messages.push_back(Says("assistant", "<think>\n</think>\n\nso"));  // some open the thinking themselves
    const auto said = chat_->EncodeAnswered(messages, problem.tools);
    if (said.ok() && !said->tokens.empty()) return {said->tokens.back()};
  }
  if (tokenizer_.eos_ids().empty()) return {};
  return {tokenizer_.eos_ids()[0]};
}

absl::StatusOr<Document> PromptForm::Sampled(const ProblemRow& problem, const std::string& completion) const {
  TEMPER_RETURN_IF_ERROR(Check(problem));
  const std::string_view bare = WithoutR1(problem.text);
  const bool in_r1 = !IsChat(problem) && !is_r1() && bare.size() < problem.text.size();
  TEMPER_ASSIGN_OR_RETURN(std::vector<int32_t> prompt, in_r1 ? EncodeR1(bare, tokenizer_) : Tokens(problem));
  return WithCompletion(std::move(prompt), completion, EndOfTurn(problem), tokenizer_);
}

absl::StatusOr<Document> PromptForm::Answered(const ProblemRow& problem, const Message& answer) const {
  TEMPER_RETURN_IF_ERROR(Check(problem));
  if (!IsChat(problem)) return Sampled(problem, answer.content);
  std::vector<Message> messages = MessagesOf(problem);
  messages.push_back(answer);
  TEMPER_ASSIGN_OR_RETURN(ChatForm::Answered answered, chat_->EncodeAnswered(messages, problem.tools));
  return Document{std::move(answered.tokens), answered.first_answer};
}

absl::StatusOr<Document> MakeDocument(const std::string& prompt, const std::string& completion,
                                      const Tokenizer& tokenizer) {
  TEMPER_ASSIGN_OR_RETURN(std::vector<int32_t> tokens, tokenizer.Encode(prompt));
  const std::vector<int32_t>& eos = tokenizer.eos_ids();
  return WithCompletion(std::move(tokens), completion, {eos.begin(), eos.begin() + !eos.empty()}, tokenizer);
}

std::string R1Prompt(std::string_view problem) {
  return absl::StrCat(kR1Head, std::string(problem), kR1Tail);
}

std::string_view WithoutR1(std::string_view text) {
  constexpr std::string_view kHead = kR1Head, kTail = kR1Tail;
  if (text.size() >= kHead.size() + kTail.size() && text.starts_with(kHead) && text.ends_with(kTail))
    text = text.substr(kHead.size(), text.size() - kHead.size() - kTail.size());
  return text;
}

absl::StatusOr<std::vector<int32_t>> EncodeR1(std::string_view problem, const Tokenizer& tokenizer) {
  TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> plain, tokenizer.Encode(problem, kWords));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> read, tokenizer.Encode(problem, kTags));
  if (plain == read) return tokenizer.Encode(R1Prompt(problem));
  TEMPER_ASSIGN_OR_RETURN(std::vector<int32_t> tokens, tokenizer.Encode(kR1Head));
  TEMPER_ASSIGN_OR_RETURN(const std::vector<int32_t> end, tokenizer.Encode(kR1Tail, kTags));
  tokens.insert(tokens.end(), plain.begin(), plain.end());
  tokens.insert(tokens.end(), end.begin(), end.end());
  return tokens;
}

}  // namespace temper
